// What to paste elsewhere to do what the form does: the broker's address, the topic and the payload are filled in.

const shell = (s) => `'${s.replaceAll("'", `'\\''`)}'`
const php = (s) => `'${s.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
const js = (s) => `'${JSON.stringify(s).slice(1, -1).replaceAll("'", "\\'").replaceAll('\\"', '"')}'`
const go = (s) => (s.includes('`') || s.includes('\r') ? JSON.stringify(s) : '`' + s + '`')
const around = (topic) => (topic.includes('.') ? topic.slice(0, topic.lastIndexOf('.')) + '.>' : topic)

const languages = {
  curl: ({ base, topic, payload, type }) => `# publish
curl -H 'Content-Type: ${type}' -d ${shell(payload)} \\
  ${shell(`${base}/v1/topics/${encodeURIComponent(topic)}`)}

# receive
curl -N ${shell(`${base}/v1/subscribe?filter=${encodeURIComponent(around(topic))}`)}`,

  JS: ({ base, endpoint, topic, payload, json }) => `import { connect } from '${base}/sdk.js'
// with a bundler: npm install @carillon/client, and import from '@carillon/client/http'

const client = connect('${endpoint}')

client.subscribe(${js(around(topic))}, (m) => console.log(m.topic, m.data))

await client.publish(${js(topic)}, ${json ? payload : js(payload)})`,

  Go: ({ endpoint, topic, payload, json }) => `import carillon "github.com/carillon-mq/carillon/sdk/go"

c, err := carillon.Dial(ctx, "${endpoint}")
if err != nil {
	return err
}
defer c.Close(ctx)
if _, err := c.Publish(ctx, ${JSON.stringify(topic)}, ${json ? `json.RawMessage(${go(payload)})` : go(payload)}); err != nil {
	return err
}
for m, err := range c.Subscribe(${JSON.stringify(around(topic))}).Messages(ctx) {
	if err != nil {
		return err
	}
	fmt.Println(m.Topic, string(m.Payload))
}`,

  PHP: ({ base, topic, payload, type }) => `$context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => 'Content-Type: ${type}',
    'content' => ${php(payload)},
    'timeout' => 0.25,
    'ignore_errors' => true, // a refusal says why
]]);
echo file_get_contents(${php(`${base}/v1/topics/`)} . rawurlencode(${php(topic)}), false, $context);

// examples/shop has a helper with tokens in it`,
}

/** startSnippets fills the tabs, and follows the form. */
export function startSnippets({ base, endpoint, topic, payload, kind }) {
  const place = document.getElementById('snippet')
  const panel = document.getElementById('snippet-panel')
  const tabs = Object.keys(languages).map((name) => {
    const tab = document.createElement('button')
    tab.type = 'button'
    tab.id = `tab-${name}`
    tab.textContent = name
    tab.setAttribute('role', 'tab')
    tab.setAttribute('aria-controls', 'snippet-panel')
    tab.addEventListener('click', () => select(tab))
    return tab
  })
  let selected = tabs[0]

  const show = () => {
    const text = payload.value
    const json = kind() === 'json' && isJSON(text)
    const type = json ? 'application/json' : 'text/plain'
    place.textContent = languages[selected.textContent]({ base, endpoint, topic: topic.value.trim() || 'orders.42', payload: text, json, type })
  }
  const select = (tab) => {
    selected = tab
    for (const t of tabs) {
      t.setAttribute('aria-selected', t === tab)
      t.tabIndex = t === tab ? 0 : -1
    }
    panel.setAttribute('aria-labelledby', tab.id)
    show()
  }
  document.getElementById('tabs').append(...tabs)
  document.getElementById('tabs').addEventListener('keydown', (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key]
    if (!step) return
    e.preventDefault()
    const next = tabs[(tabs.indexOf(selected) + step + tabs.length) % tabs.length]
    select(next)
    next.focus()
  })
  document.getElementById('publish').addEventListener('input', show)
  document.getElementById('copy').addEventListener('click', copy)
  select(selected)
}

async function copy() {
  const said = document.getElementById('copied')
  const button = document.getElementById('copy')
  try {
    await navigator.clipboard.writeText(document.getElementById('snippet').textContent)
    said.textContent = button.textContent = 'Copied'
  } catch {
    getSelection().selectAllChildren(document.getElementById('snippet')) // not allowed to: Ctrl+C does it now
    said.textContent = button.textContent = 'Selected'
  }
  setTimeout(() => {
    button.textContent = 'Copy'
    said.textContent = ''
  }, 1500)
}

function isJSON(text) {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
