<?php

declare(strict_types=1);

/** Text for HTML, between tags and in quoted attributes. */
function h(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5);
}

function money(int $cents): string
{
    return '€ ' . number_format($cents / 100, 2);
}

/** @param array<string, string> $data attributes of the body for shop.js */
function pageHead(string $title, array $data = []): void
{
    $broker = brokerURLForPages();
    $sockets = preg_replace('/^http/', 'ws', $broker);
    header("Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' $broker $sockets; "
        . "form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
    header('X-Content-Type-Options: nosniff');
    header('Referrer-Policy: same-origin');
    header('Cache-Control: no-store');
    header('Content-Type: text/html; charset=utf-8');
    $attributes = '';
    foreach ($data as $name => $value) {
        $attributes .= " data-$name=\"" . h($value) . '"';
    }
    ?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title><?= h($title) ?> · Bell &amp; Co.</title>
<link rel="icon" href="bell.svg" type="image/svg+xml">
<link rel="stylesheet" href="shop.css">
</head>
<body<?= $attributes ?>>
<header class="top">
  <a class="brand" href="./"><img src="bell.svg" alt="" width="28" height="28"> Bell &amp; Co.</a>
<?php if (userID() !== null) { ?>
  <nav>
    <?php if (isStaff()) { ?><a href="backoffice.php">Back office</a><?php } else { ?><a href="./">My orders</a><?php } ?>

    <form method="post" action="logout.php">
      <input type="hidden" name="csrf" value="<?= h($_SESSION['csrf']) ?>">
      <button class="quiet"><span class="who"><?= h(USERS[userID()]['name']) ?> · </span>Log out</button>
    </form>
  </nav>
<?php } ?>
</header>
<main>
<?php
}

function pageFoot(): void
{
    echo "</main>\n</body>\n</html>\n";
}
