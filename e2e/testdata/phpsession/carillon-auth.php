<?php
// Tells the broker who is logged in. It asks with the visitor's own cookies, so this is an ordinary request of an ordinary session.
session_start(['read_and_close' => true]); // another request of the visitor need not wait for this one
header('Content-Type: application/json');
if (!isset($_SESSION['user'])) {
    http_response_code(401);
    exit;
}
echo json_encode([
    'user' => $_SESSION['user'],
    'grants' => ['publish' => ['chat.{user}'], 'subscribe' => ['news.>']],
    'expires_in' => 300, // then the page comes back by itself, and this is asked again: who has logged out stays out
]);
