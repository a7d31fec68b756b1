<?php

declare(strict_types=1);

require __DIR__ . '/../lib/settings.php';
require __DIR__ . '/../lib/session.php';
require __DIR__ . '/../lib/orders.php';
require __DIR__ . '/../lib/page.php';

openSession();
$user = mustLogIn();
if (isStaff()) {
    redirect('backoffice.php');
}
$orders = (new Orders(dataDir()))->of($user);
pageHead('My orders', ['broker' => brokerURLForPages(), 'topic' => '$user.' . Carillon::level($user) . '.orders']);
?>
<div class="headline">
  <h1>My orders</h1>
  <p id="connection" class="pill" data-state="off" role="status"><span class="dot" aria-hidden="true"></span> <span id="connection-text">not live</span></p>
</div>
<p class="lead">Hello <?= h(USERS[$user]['name']) ?>. This page follows your orders by itself.</p>
<p id="news" class="visually-hidden" aria-live="polite"></p>
<ul class="orders" id="orders">
<?php foreach ($orders as $order) { ?>
  <li class="order" data-number="<?= $order['number'] ?>" data-version="<?= $order['version'] ?>" data-status="<?= h($order['status']) ?>">
    <div class="what"><strong><?= h($order['what']) ?></strong> <span class="number">No. <?= $order['number'] ?></span></div>
    <div class="price"><?= h(money($order['cents'])) ?></div>
    <div class="status"><span class="status-name"><?= h($order['status']) ?></span></div>
    <ol class="steps" aria-hidden="true"><?php foreach (Orders::STATUSES as $status) { ?><li data-step="<?= h($status) ?>"<?= array_search($status, Orders::STATUSES) <= array_search($order['status'], Orders::STATUSES) ? ' class="done"' : '' ?>><?= h($status) ?></li><?php } ?></ol>
  </li>
<?php } ?>
</ul>
<script type="module" src="shop.js"></script>
<?php
pageFoot();
