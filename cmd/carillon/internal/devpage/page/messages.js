const most = 300 // rows that are kept
const colours = 6 // of page.css

/** MessageList is the list of messages, newest first, and the row of filters above it. */
export class MessageList {
  #list
  #filters
  #empty
  #count
  #chips = new Map() // filter → its row, colour and count
  #highlighted = ''
  #paused = false
  #waiting = [] // rows that came while paused, oldest first
  #dropped = 0 // of those that were waiting
  #seen = 0

  constructor({ list, filters, empty, count }) {
    this.#list = list
    this.#filters = filters
    this.#empty = empty
    this.#count = count
    this.#show()
  }

  addFilter(filter, remove) {
    if (this.#chips.has(filter)) return
    const taken = new Set([...this.#chips.values()].map((c) => c.colour))
    let colour = 0
    while (taken.has(colour) && colour < colours - 1) colour++
    const chip = element('li', 'chip')
    chip.dataset.colour = colour
    const name = element('button', 'chip-name', filter)
    name.type = 'button'
    name.title = 'Show only what came by this filter at full strength'
    name.setAttribute('aria-pressed', 'false')
    name.addEventListener('click', () => this.#highlight(this.#highlighted === filter ? '' : filter))
    const number = element('span', 'chip-count', '0')
    const close = element('button', 'chip-close', '×')
    close.type = 'button'
    close.setAttribute('aria-label', `Unsubscribe from ${filter}`)
    close.addEventListener('click', () => {
      remove()
      document.getElementById('filter').focus()
    })
    chip.append(name, number, close)
    this.#filters.append(chip)
    this.#chips.set(filter, { chip, name, number, colour, count: 0 })
  }

  removeFilter(filter) {
    this.#chips.get(filter)?.chip.remove()
    this.#chips.delete(filter)
    if (this.#highlighted === filter) this.#highlight('')
  }

  message(m, filter) {
    const row = this.#row('message', filter)
    const head = element('div', 'row-head')
    head.append(time(m.time), element('code', 'topic', m.topic))
    if (m.retained) head.append(badge('retained', 'It was kept by the broker, and came when you subscribed'))
    else if (m.retain) head.append(badge('retain', 'The broker keeps it for those who subscribe later'))
    if (m.error) head.append(badge('not readable', m.error.message))
    head.append(element('span', 'kind', kindOf(m.contentType)))
    row.append(head, payload(m))
    this.#add(row, filter)
  }

  gap(gap, filter) {
    const row = this.#row('gap', filter)
    const what = gap.count === undefined ? 'Messages may be missing here' : `${gap.count} ${gap.count === 1 ? 'message is' : 'messages are'} missing here`
    const why = {
      epoch: 'the broker was restarted', trimmed: 'the broker no longer holds them', not_stored: 'they are not stored',
      ahead: 'the store has gone back', forbidden: 'the token does not reach back that far', live: 'their topics keep none',
    }[gap.reason] ?? gap.reason
    const head = element('div', 'row-head')
    head.append(time(Date.now()), element('strong', '', 'Gap'), element('code', 'topic', filter))
    row.append(head, element('div', 'payload', `${what}: ${why}.`))
    this.#add(row, filter)
  }

  pause(paused) {
    this.#paused = paused
    if (!paused) {
      for (const row of this.#waiting) this.#list.prepend(row)
      this.#waiting = []
      this.#dropped = 0
      this.#trim()
    }
    this.#show()
  }

  clear() {
    this.#list.replaceChildren()
    this.#waiting = []
    this.#dropped = 0
    this.#seen = 0
    for (const c of this.#chips.values()) c.number.textContent = c.count = 0
    this.#show()
  }

  #row(kind, filter) {
    const row = element('li', `item ${kind}`)
    row.dataset.filter = filter
    row.dataset.colour = this.#chips.get(filter)?.colour ?? 0
    row.classList.toggle('dim', this.#highlighted !== '' && this.#highlighted !== filter)
    return row
  }

  #add(row, filter) {
    this.#seen++
    const chip = this.#chips.get(filter)
    if (chip) chip.number.textContent = ++chip.count
    if (this.#paused) {
      this.#waiting.push(row)
      if (this.#waiting.length > most) {
        this.#waiting.shift()
        this.#dropped++
      }
    } else {
      this.#list.prepend(row)
      this.#trim()
    }
    this.#show()
  }

  #trim() {
    while (this.#list.childElementCount > most) this.#list.lastElementChild.remove()
  }

  #highlight(filter) {
    this.#highlighted = filter
    for (const [f, c] of this.#chips) c.name.setAttribute('aria-pressed', f === filter)
    for (const row of [...this.#list.children, ...this.#waiting]) row.classList.toggle('dim', filter !== '' && row.dataset.filter !== filter)
  }

  #show() {
    const shown = this.#list.childElementCount
    this.#empty.hidden = shown > 0
    const waiting = this.#waiting.length + this.#dropped
    if (this.#paused) this.#count.textContent = `paused, ${waiting} new`
    else this.#count.textContent = this.#seen > shown ? `last ${shown} of ${this.#seen}` : `${this.#seen}`
  }
}

// payload shows JSON and text as such, bytes as hexadecimal; what is long is folded.
function payload(m) {
  const { data } = m
  const empty = data === undefined || data === '' || (data instanceof Uint8Array && data.length === 0)
  let text
  if (empty) text = m.retain || m.retained ? 'empty: the retained value was removed' : 'empty'
  else if (data instanceof Uint8Array) text = bytes(data)
  else if (typeof data === 'string' && /^text\//.test(m.contentType)) text = data
  else text = JSON.stringify(data, (_, v) => (typeof v === 'bigint' ? Number(v) : v instanceof Uint8Array ? bytes(v) : v), 1)?.replace(/\n\s*/g, ' ') ?? String(data)
  const place = element('div', empty ? 'payload soft' : 'payload')
  if (text.length <= 240) {
    place.textContent = text
    return place
  }
  const fold = element('details')
  fold.append(element('summary', '', `${text.slice(0, 200)} …`), element('pre', '', data instanceof Uint8Array || typeof data === 'string' ? text : JSON.stringify(data, null, 2)))
  place.append(fold)
  return place
}

function bytes(b) {
  const shown = Array.from(b.subarray(0, 1024), (x) => x.toString(16).padStart(2, '0')).join(' ')
  return `${b.length} bytes: ${shown}${b.length > 1024 ? ' …' : ''}`
}

function kindOf(contentType) {
  if (contentType === '') return 'msgpack'
  return contentType.split(';')[0].replace(/^application\/(x-)?/, '').replace('text/plain', 'text')
}

function time(ms) {
  const at = new Date(ms)
  const t = element('time', 'time', at.toLocaleTimeString([], { hour12: false }) + '.' + String(at.getMilliseconds()).padStart(3, '0'))
  t.dateTime = at.toISOString()
  return t
}

function badge(text, title) {
  const b = element('span', 'badge', text)
  b.title = title
  return b
}

function element(name, className = '', text = '') {
  const e = document.createElement(name)
  e.className = className
  e.textContent = text
  return e
}
