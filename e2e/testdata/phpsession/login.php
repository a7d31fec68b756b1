<?php
session_start();
session_regenerate_id(true);
$_SESSION['user'] = (int) $_POST['user'];
echo 'hello ', $_SESSION['user'];
