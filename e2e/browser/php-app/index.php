<?php header('Content-Type: text/html; charset=utf-8'); ?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>A page of PHP</title>
<link rel="icon" href="data:,">
</head>
<body>
<p id="status">starting</p>
<ol id="messages"></ol>
<script type="module">
// No build and no configuration: the SDK comes from the broker that `carillon dev` runs.
const broker = <?= json_encode($_GET['broker'] ?? 'http://127.0.0.1:8080', JSON_HEX_TAG | JSON_HEX_AMP) ?>;
const transport = <?= json_encode($_GET['transport'] ?? null, JSON_HEX_TAG | JSON_HEX_AMP) ?> ?? undefined
const { connect } = await import(`${broker}/sdk.js`)
const client = connect(`${broker}/ws`, { transport })
client.on('status', ({ state }) => {
  document.getElementById('status').textContent = state
  document.body.dataset.transport = client.transport // over HTTP it is known later than that a publish went through
})
client.subscribe('demo.>', (m) => {
  const item = document.createElement('li')
  item.textContent = `${m.topic} ${JSON.stringify(m.data)}`
  document.getElementById('messages').append(item)
})
await client.publish('php.here', { n: 1 })
document.body.dataset.published = 'yes'
</script>
</body>
</html>
