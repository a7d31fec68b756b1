import type { Gap, Live, Snapshot } from './message.js'
import { encode, type GapPacket, type MessagePacket, natural, Type, type Wanted } from './packets.js'
import type { SubscribeOptions } from './options.js'
import { cursorOf, none, type Position, tokenOf } from './position.js'

/** Where a subscription is on the wire ([SUB-5]). */
export const enum Phase {
  /** Not asked for: no connection, parked, or waiting to ask again. */
  Idle,
  /** Subscribe is queued or sent. */
  Asked,
  /** Subscribed; only what is addressed to it is for it. */
  Starting,
  /** Plain messages are for it too. */
  Live,
  Ended,
}

/** Stream is the wire side of a subscription: where it is, and what it takes. */
export class Stream {
  _phase = Phase.Idle
  /** Of the subscription in this session; 0 when idle or ended. */
  _id = 0
  /** Up to where it has been served, unless it shares the session's position; undefined: it starts afresh. */
  _own: Position | undefined
  /** It is live and the session has reached its own position, which does not count any more ([POS-7]). */
  _shared?: boolean
  /** It waits for the end of a snapshot: when it is cut before that it asks for it again ([SUB-15]). */
  _awaiting?: boolean
  /** Up to where it had been served before what waits for room at present. */
  _before: Position | undefined
  /** Where it stood when it had to start afresh: over HTTP, where a snapshot cannot be asked for again. */
  _restarted: Position | undefined
  /** The application has been given something, and that before the snapshot under way began. */
  private _delivered?: boolean
  private _again: boolean | undefined
  /** The highest seq delivered, and the epoch it counts in: nothing up to it is delivered again. */
  private _markEpoch: string | undefined
  private _markSeq = 0
  /** The application has been told that it is live, since it was idle for good. */
  _told: boolean | undefined
  _refusals = 0
  /** The timer after which it is asked for again, and not before, whatever the connection does meanwhile ([RGT-5]). */
  _retry: unknown

  readonly _wantsRetained: boolean
  readonly _conflated: boolean

  constructor(
    readonly filter: string,
    readonly _options: SubscribeOptions,
  ) {
    this._wantsRetained = _options.retained !== false && _options.last === undefined
    this._conflated = !!(_options.latest || _options.maxRate)
  }

  /** _packet asks for the stream from where it is. */
  _packet(id: number): Uint8Array {
    return encode([Type.Subscribe, id, this.filter], this._wanted(id)[2])
  }

  _wanted(id: number): Wanted {
    const { last, latest, maxRate, join } = this._options
    const options = {
      position: this._own && tokenOf(this._own),
      retained: this._wantsRetained ? undefined : false,
      snapshot: this._awaiting || undefined,
      last: this._own ? undefined : natural(last),
      latest: latest || undefined,
      max_rate: natural(maxRate),
      join: join || undefined,
    }
    return [id, this.filter, options]
  }

  /** _subscribed begins the stream at a position, live at once if nothing goes first. It returns a gap to tell. */
  _subscribed(at: Position, session: Position): Gap | undefined {
    this._refusals = 0
    this._phase = Phase.Starting
    if (this._own) {
      if (this._own._epoch === session._epoch) this._mark(this._own)
      return undefined
    }
    if (!this._wantsRetained && this._options.last === undefined && !this._conflated) this._phase = Phase.Live
    const stood = this._restarted
    const gap = stood && cursorOf(stood) !== cursorOf(at) ? this._gap('snapshot', stood, at) : undefined
    this._restarted = undefined
    this._own = at
    this._mark(at)
    this._awaiting = this._wantsRetained
    this._again = this._delivered
    return gap
  }

  _retainedEnd(reset: boolean, session: Position): Snapshot {
    this._awaiting = false
    return { type: 'snapshot', reset: !!(reset || this._again), cursor: this._cursor(session) }
  }

  /** _resumed takes the position at which the subscription has caught up. It returns what the application is to be told: that once. */
  _resumed(at: Position): Live | undefined {
    const told = this._told
    this._told = true
    this._own = at
    this._shared = this._awaiting = false
    this._mark(at)
    return told ? undefined : { type: 'live', cursor: this._cursor(at) }
  }

  /** _gapped moves the subscription over what is missing. After most gaps the retained messages are sent again ([GAP-4]). */
  _gapped(p: Pick<GapPacket, '_reason' | '_to'> & { _subscription?: number }): void {
    if (p._subscription) {
      this._own = p._to
      this._shared = false
    }
    if (p._reason !== 'live' && this._wantsRetained) this._awaiting = true
  }

  _gap(reason: string, from: Position | null | undefined, to: Position, count?: number): Gap {
    return { type: 'gap', filter: this.filter, reason, from: cursorOf(from), to: cursorOf(to), count }
  }

  /** _position is up to where the subscription has been served. */
  _position(session: Position | undefined): Position | undefined {
    return this._shared ? session : this._own
  }

  /** _resumeAt is the position from which the application can go on: none while a snapshot is awaited. */
  _resumeAt(p: Position | undefined): Position | undefined {
    return this._awaiting || !p || (p._epoch === none && p._term === none) ? undefined : p
  }

  _cursor(session: Position): string {
    return cursorOf(this._resumeAt(this._position(session)))
  }

  /**
   * _after is the subscription's own position after m, which came in a Replay ([POS-8]). While the position is of an earlier run
   * of the broker only its offset moves: seq counts in another epoch until Resumed. An offset is of the store's present term.
   */
  _after(m: MessagePacket, session: Position): Position {
    const own = this._own as Position
    return {
      _epoch: own._epoch,
      _seq: m._seq && own._epoch === session._epoch ? m._seq : own._seq,
      _term: m._offset ? session._term : own._term,
      _offset: m._offset || own._offset,
    }
  }

  /** _repeated says whether m has been delivered before, by its seq. */
  _repeated(m: MessagePacket, session: Position): boolean {
    return m._seq > 0 && this._markEpoch === session._epoch && m._seq <= this._markSeq
  }

  /** _had says whether the own position of a live subscription is at or behind m, which the store has and which comes for all of them ([MSG-2]). */
  _had({ _seq, _offset }: MessagePacket, session: Position): boolean {
    const own = this._own as Position
    return !_seq && _offset > 0 && !this._shared && own._term === session._term && _offset <= own._offset
  }

  /** _goOver moves that position over m ([POS-7]). */
  _goOver(m: MessagePacket, session: Position): void {
    const own = this._own as Position
    if (!m._seq && own._term === session._term && own._offset < m._offset) this._own = { ...own, _offset: m._offset }
  }

  /** _took notes that the application has been given something: of the session's epoch, with that seq. */
  _took(_epoch: string, _seq: number): void {
    this._delivered = true
    if (_seq) this._mark({ _epoch, _seq })
  }

  private _mark({ _epoch, _seq }: Pick<Position, '_epoch' | '_seq'>): void {
    if (this._markEpoch !== _epoch || this._markSeq < _seq) {
      this._markEpoch = _epoch
      this._markSeq = _seq
    }
  }

  /** _idle takes the subscription off the wire and keeps its place, if it has one to resume from. */
  _idle(session: Position | undefined, told?: boolean): void {
    this._told = told
    this._own = this._before ?? this._position(session)
    this._before = undefined
    this._shared = false
    if (this._phase !== Phase.Ended) this._phase = Phase.Idle
    this._id = 0
  }
}
