<?php

declare(strict_types=1);

require __DIR__ . '/../lib/settings.php';
require __DIR__ . '/../lib/session.php';
require __DIR__ . '/../lib/page.php';

$wrong = false;
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    // A foreign page must not log a visitor in as somebody else: browsers say where a form comes from.
    if (!in_array($_SERVER['HTTP_SEC_FETCH_SITE'] ?? 'same-origin', ['same-origin', 'none'], true)) {
        refuse(403, 'This form came from another site.');
    }
    if (logIn((string) ($_POST['user'] ?? ''), (string) ($_POST['password'] ?? ''))) {
        redirect('./');
    }
    $wrong = true;
    http_response_code(403);
} else {
    openSession();
}
pageHead('Log in');
?>
<form method="post" class="login">
  <h1>Log in</h1>
  <?php if ($wrong) { ?><p class="flash warn" role="alert">No such user, or another password.</p><?php } ?>

  <label>User <input name="user" autocomplete="username" required autofocus value="<?= h((string) ($_POST['user'] ?? '')) ?>"></label>
  <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
  <button>Log in</button>
  <p class="hint">Customers: <code>42</code> and <code>zoe.k@example.com</code>. Staff: <code>office</code>. The password is <code>demo</code>.</p>
</form>
<?php
pageFoot();
