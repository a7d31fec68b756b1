// The orders on the page were rendered by PHP. From here on they follow what the shop pushes to $user.<id>.orders.
import { connect } from './sdk.php'

const { broker, topic } = document.body.dataset
const connection = document.getElementById('connection')
const connectionText = document.getElementById('connection-text')
const news = document.getElementById('news')
const transports = { websocket: 'WebSocket', sse: 'server-sent events', poll: 'long-poll' }

const client = connect(`${broker}/ws`.replace(/^http/, 'ws'), {
  token: async ({ signal }) => {
    const answer = await fetch('token.php', { method: 'POST', signal })
    if (answer.status === 401) location.assign('login.php')
    if (!answer.ok) throw new Error(`token.php answered ${answer.status}`)
    return answer.text()
  },
})
client.on('status', showConnection)
showConnection()

const updates = client.subscribe(topic, (message) => showOrder(message.data, true))
updates.ready.then(catchUp, () => {}) // an order may have changed between the page and the subscription
updates.on('gap', catchUp)

// catchUp asks the shop for the truth: pushes are news, not the record.
async function catchUp() {
  const answer = await fetch('orders.php').catch(() => undefined)
  if (!answer?.ok) return
  for (const order of await answer.json()) showOrder(order, false)
}

function showOrder(order, isNews) {
  const row = document.querySelector(`.order[data-number="${Number(order.number)}"]`)
  if (!row) return location.reload() // an order that this page does not have yet
  if (order.version <= Number(row.dataset.version)) return
  row.dataset.version = order.version
  row.dataset.status = order.status
  row.querySelector('.status-name').textContent = order.status
  let done = true
  for (const step of row.querySelectorAll('.steps li')) {
    step.classList.toggle('done', done)
    if (step.dataset.step === order.status) done = false
  }
  row.classList.remove('changed')
  void row.offsetWidth // so that the animation starts anew
  row.classList.add('changed')
  if (isNews) news.textContent = `Order ${order.number}, ${order.what}: now ${order.status}.`
}

function showConnection() {
  const { state, transport } = client.status
  connection.dataset.state = state === 'connected' ? 'live' : 'off'
  connection.dataset.transport = transport ?? ''
  connectionText.textContent = { connected: `live by ${transports[transport]}`, closed: 'not live' }[state] ?? 'connecting …'
}
