<?php

// A token for the page of whoever is logged in: good for 15 minutes, for this user's own topics.

declare(strict_types=1);

require __DIR__ . '/../lib/settings.php';
require __DIR__ . '/../lib/session.php';

openSession();
if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    refuse(405, 'POST only'); // not to be prefetched, linked or cached
}
$user = userID() ?? refuse(401, 'not logged in');
header('Content-Type: text/plain');
header('Cache-Control: no-store');
echo carillon()->token($user);
