<?php
// Answers as carillon-auth.php does, as soon as the file HOLD is gone.
while (getenv('HOLD') && file_exists(getenv('HOLD'))) {
    usleep(5000);
    clearstatcache();
}
require __DIR__ . '/carillon-auth.php';
