<?php

// The browser SDK of this repository. A shop of your own has a copy of carillon.js among its assets instead.

declare(strict_types=1);

header('Content-Type: text/javascript; charset=utf-8');
header('X-Content-Type-Options: nosniff');
header('Cache-Control: no-cache');
readfile(__DIR__ . '/../../../sdk/js/dist/carillon.js');
