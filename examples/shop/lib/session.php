<?php

declare(strict_types=1);

/** The people of this demonstration; everybody's password is "demo". A user id may be anything: see Carillon::level. */
const USERS = [
    '42' => ['name' => 'Ada', 'staff' => false],
    'zoe.k@example.com' => ['name' => 'Zoë', 'staff' => false],
    'office' => ['name' => 'Mia', 'staff' => true],
];
const PASSWORD_HASH = '$2y$10$O13e1M.k1MCPohrS4YpvNu/7b5GTBPPVVtJcUXgmXRCZvsQtpmYie';

/** Reads the session and lets go of it at once, so that requests of one browser do not wait for each other. */
function openSession(bool $toWrite = false): void
{
    session_name('shop');
    session_start([
        'read_and_close' => !$toWrite,
        'use_strict_mode' => true,
        'cookie_httponly' => true,
        'cookie_samesite' => 'Lax',
        'cookie_secure' => ($_SERVER['HTTPS'] ?? '') !== '',
    ]);
}

/** Id of the user who is logged in, or null. */
function userID(): ?string
{
    return isset($_SESSION['user']) ? (string) $_SESSION['user'] : null;
}

function isStaff(): bool
{
    return USERS[userID() ?? '']['staff'] ?? false;
}

/** For pages: sends whoever is not logged in to the login. */
function mustLogIn(): string
{
    $user = userID();
    if ($user === null) {
        redirect('login.php');
    }
    return $user;
}

function logIn(string $user, string $password): bool
{
    if (!password_verify($password, PASSWORD_HASH) || !isset(USERS[$user])) {
        return false;
    }
    openSession(toWrite: true);
    session_regenerate_id(true);
    $_SESSION = ['user' => $user, 'csrf' => bin2hex(random_bytes(32))];
    session_write_close();
    return true;
}

function logOut(): void
{
    openSession(toWrite: true);
    $_SESSION = [];
    session_destroy();
    setcookie('shop', '', ['expires' => 1, 'path' => '/']);
}

/** Refuses a form that does not come from a page of this session. */
function checkForm(): void
{
    if (!hash_equals($_SESSION['csrf'] ?? '', (string) ($_POST['csrf'] ?? '')) || ($_SESSION['csrf'] ?? '') === '') {
        refuse(403, 'This form is out of date. Go back, load the page again and try once more.');
    }
}

function redirect(string $to): never
{
    header("Location: $to", true, 303);
    exit;
}

function refuse(int $status, string $why): never
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    exit("$why\n");
}
