import { connect } from '@carillon/client'

// No configuration: the address that `carillon dev` prints.
const parameters = new URLSearchParams(location.search)
const client = connect(parameters.get('broker') ?? 'ws://127.0.0.1:8080/ws')
client.on('status', ({ state }) => (document.getElementById('status').textContent = state))
client.subscribe('demo.>', (m) => {
  const item = document.createElement('li')
  item.textContent = `${m.topic} ${JSON.stringify(m.data)}`
  document.getElementById('messages').append(item)
})
await client.publish('vite.here', { n: 1 })
document.body.dataset.published = 'yes'
