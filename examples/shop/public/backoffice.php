<?php

declare(strict_types=1);

require __DIR__ . '/../lib/settings.php';
require __DIR__ . '/../lib/session.php';
require __DIR__ . '/../lib/orders.php';
require __DIR__ . '/../lib/page.php';

openSession();
mustLogIn();
if (!isStaff()) {
    refuse(403, 'This page is for the back office.');
}
$orders = new Orders(dataDir());

if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    checkForm();
    $status = (string) ($_POST['status'] ?? '');
    if (!in_array($status, Orders::STATUSES, true)) {
        refuse(400, 'There is no such status.');
    }
    // The order first: it is saved whatever becomes of the push.
    $order = $orders->setStatus((int) ($_POST['number'] ?? 0), $status) ?? refuse(404, 'There is no such order.');
    // Then the push, which takes a quarter of a second at most.
    $told = tellCustomer($order);
    redirect('backoffice.php?saved=' . $order['number'] . ($told ? '' : '&quiet=1'));
}

pageHead('Back office');
?>
<h1>Back office</h1>
<?php if (isset($_GET['saved'])) { ?>
<p class="flash<?= isset($_GET['quiet']) ? ' warn' : '' ?>" role="status">Order <?= (int) $_GET['saved'] ?> is saved<?= isset($_GET['quiet']) ? '. The customer’s page could not be told: the broker is away.' : ' and pushed: the customer’s page, if it is open, shows it.' ?></p>
<?php } ?>
<table class="all">
<thead><tr><th>No.</th><th>Order</th><th>Customer</th><th class="price">Price</th><th>Status</th></tr></thead>
<tbody>
<?php foreach ($orders->all() as $order) { ?>
<tr>
  <td><?= $order['number'] ?></td>
  <td><?= h($order['what']) ?></td>
  <td><?= h(USERS[$order['user']]['name'] ?? $order['user']) ?></td>
  <td class="price"><?= h(money($order['cents'])) ?></td>
  <td>
    <form method="post" class="change" aria-label="Status of order <?= $order['number'] ?>">
      <input type="hidden" name="csrf" value="<?= h($_SESSION['csrf']) ?>">
      <input type="hidden" name="number" value="<?= $order['number'] ?>">
      <select name="status" aria-label="Status">
        <?php foreach (Orders::STATUSES as $status) { ?><option<?= $status === $order['status'] ? ' selected' : '' ?>><?= h($status) ?></option><?php } ?>

      </select>
      <button>Save</button>
    </form>
  </td>
</tr>
<?php } ?>
</tbody>
</table>
<?php
pageFoot();
