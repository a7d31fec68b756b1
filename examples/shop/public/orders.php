<?php

// The user's own orders as JSON: what the page asks for when it may have missed something.

declare(strict_types=1);

require __DIR__ . '/../lib/settings.php';
require __DIR__ . '/../lib/session.php';
require __DIR__ . '/../lib/orders.php';

openSession();
$user = userID() ?? refuse(401, 'not logged in');
header('Content-Type: application/json');
header('Cache-Control: no-store');
echo json_encode((new Orders(dataDir()))->of($user), JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
