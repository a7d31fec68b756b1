<?php
// An ordinary request that pushes to a user: the token is that of the service "shop".
$answer = file_get_contents('http://' . getenv('CARILLON') . '/v1/topics/' . rawurlencode('$user.' . (int) $_POST['user'] . '.orders'), false, stream_context_create(['http' => [
    'method' => 'POST',
    'header' => ['Authorization: Bearer ' . getenv('SHOP_TOKEN'), 'Content-Type: application/json'],
    'content' => json_encode(['order' => $_POST['order']]),
    'timeout' => 10,
    'ignore_errors' => true,
]]));
echo $answer;
