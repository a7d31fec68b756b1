// The page's wiring: what the visitor does goes to the SDK, what the SDK tells goes into the page.
import { CarillonError, connect, match } from '/sdk.js'
import { MessageList } from './messages.js'
import { startSnippets } from './snippets.js'

const $ = (id) => document.getElementById(id)
const codesPage = 'https://github.com/carillon-mq/carillon/blob/main/docs/codes.md'
const notInTable = ['closed', 'unknown_outcome', 'queue_full', 'connection', 'protocol'] // the client's own codes
const transports = { websocket: 'WebSocket', sse: 'server-sent events', poll: 'long-poll' }

const base = location.origin
const endpoint = base.replace(/^http/, 'ws') + '/ws'
const list = new MessageList({ list: $('messages'), filters: $('filters'), empty: $('empty'), count: $('count') })
const subscriptions = new Map() // filter → subscription, in the order in which they were made
const utf8 = new TextEncoder()
const kind = () => new FormData($('publish')).get('kind')
let client

start()
startSnippets({ base, endpoint, topic: $('topic'), payload: $('payload'), kind })
$('subscribe').addEventListener('submit', onSubscribe)
$('publish').addEventListener('submit', onPublish)
$('payload').addEventListener('keydown', (e) => {
  if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) $('publish').requestSubmit()
})
$('pause').addEventListener('click', onPause)
$('clear').addEventListener('click', () => list.clear())
$('reconnect').addEventListener('click', () => start())

// start connects, and subscribes to what is on the page, at first to the topic that ticks.
function start() {
  const wanted = client ? [...subscriptions.keys()] : ['demo.>']
  client?.close()
  subscriptions.clear()
  client = connect(endpoint)
  client.on('status', showConnection)
  showConnection()
  for (const filter of wanted) subscribe(filter)
}

function showConnection() {
  const { state, transport, error, retryIn } = client.status
  const said = {
    connecting: 'connecting …',
    connected: `connected by ${transports[transport]}`,
    reconnecting: retryIn > 1500 ? `connection lost, again in ${Math.round(retryIn / 1000)} s` : 'connection lost, connecting …',
    closed: error ? `not connected: ${error.message}` : 'not connected',
  }
  $('connection').dataset.state = { connected: 'live', closed: 'off' }[state] ?? 'trying'
  $('connection').dataset.transport = transport ?? ''
  $('connection-text').textContent = said[state]
  $('connection').title = error?.message ?? ''
  $('reconnect').hidden = state !== 'closed'
  if (state !== 'connected') $('latency').hidden = true
}

function subscribe(filter) {
  const sub = client.subscribe(filter)
  subscriptions.set(filter, sub)
  list.addFilter(filter, () => unsubscribe(filter))
  // A message comes to every subscription that it matches; the first of them shows it.
  sub.on('message', (m) => {
    if ([...subscriptions.keys()].find((f) => match(f, m.topic)) !== filter) return
    list.message(m, filter)
    if (m.topic === 'demo.tick' && !m.retained) showLatency(m.time)
  })
  sub.on('gap', (gap) => list.gap(gap, filter))
  sub.on('error', (error) => {
    if (subscriptions.get(filter) !== sub) return
    unsubscribe(filter)
    showError($('subscribe-error'), error)
  })
}

function unsubscribe(filter) {
  subscriptions.get(filter)?.close()
  subscriptions.delete(filter)
  list.removeFilter(filter)
}

function onSubscribe(e) {
  e.preventDefault()
  const input = $('filter')
  const filter = input.value.trim()
  $('subscribe-error').textContent = ''
  if (filter === '') {
    $('subscribe-error').textContent = 'Say what to subscribe to, such as orders.>'
  } else if (subscriptions.has(filter)) {
    $('subscribe-error').textContent = `You are subscribed to ${filter} already.`
  } else {
    subscribe(filter)
    input.value = ''
  }
  input.focus()
}

async function onPublish(e) {
  e.preventDefault()
  const result = $('publish-result')
  const text = $('payload').value
  const retain = $('retain').checked
  const json = kind() === 'json'
  const clears = retain && text === ''
  result.dataset.state = 'waiting'
  result.textContent = 'publishing …'
  if (json && !clears) {
    try {
      JSON.parse(text)
    } catch (error) {
      showError(result, error, 'This is not JSON')
      return
    }
  }
  const from = performance.now()
  try {
    const contentType = json ? 'application/json' : 'text/plain; charset=utf-8'
    const topic = $('topic').value.trim()
    const ack = await (clears ? client.clear(topic) : client.publish(topic, utf8.encode(text), { retain, contentType }))
    const took = performance.now() - from
    result.dataset.state = 'done'
    result.textContent = `${clears ? 'Cleared' : 'Published'}: ${ack.durability} in ${took < 10 ? took.toFixed(1) : took.toFixed(0)} ms`
  } catch (error) {
    showError(result, error)
  }
}

// showError says what an error says; one of the broker's also leads to the page about its code.
function showError(place, error, before = '') {
  place.dataset.state = 'failed'
  place.textContent = before ? `${before}: ${error.message}` : error.message
  if (error.hint) place.append(` ${error.hint}`)
  if (!(error instanceof CarillonError) || notInTable.includes(error.code)) return
  const link = document.createElement('a')
  link.href = `${codesPage}#:~:text=${error.code}`
  link.target = '_blank'
  link.rel = 'noopener noreferrer'
  link.textContent = `About ${error.code}`
  place.append(' ', link)
}

function onPause() {
  const paused = $('pause').getAttribute('aria-pressed') !== 'true'
  $('pause').setAttribute('aria-pressed', paused)
  $('pause').textContent = paused ? 'Go on' : 'Pause'
  list.pause(paused)
}

// showLatency is only right where page and broker share a clock.
function showLatency(time) {
  const ms = performance.timeOrigin + performance.now() - time
  if (!/^(localhost|127\.|\[::1\])/.test(location.hostname) || ms < 0 || ms > 60_000) return
  $('latency').hidden = false
  $('latency').textContent = `tick ${ms < 1 ? '< 1' : Math.floor(ms)} ms`
}
