<?php

declare(strict_types=1);

require __DIR__ . '/../lib/session.php';

openSession();
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    checkForm();
    logOut();
}
redirect('login.php');
