// Rows of a table, fetched by ranges: only what somebody looks at is asked for, and only a little of it is kept.
// Offers: RowSource.

import { post } from '../api.js';

/** Rows of one question. */
const PAGE = 100;
/** Ranges that are kept. */
const KEPT = 60;
/** Milliseconds of rest before a range is asked for: whoever drags the scroll bar passes most of them. */
const REST = 60;

/** What a person typed, for LIKE: everything in it is itself. */
const plain = (text) => text.toLowerCase();

/** The question of filters: `{where, args}`. A filter is `{column, how, value}`; `how` is a comparison, `has`, `empty` or `full`. */
export function condition(filters, search, columns) {
  const parts = [];
  const args = [];
  const name = (column) => `"${column}"`;
  for (const { column, how, value } of filters) {
    if (how === 'empty') parts.push(`(${name(column)} IS NULL OR ${name(column)} = '')`);
    else if (how === 'full') parts.push(`(${name(column)} IS NOT NULL AND ${name(column)} != '')`);
    else if (how === 'has') {
      parts.push(`instr(lower(${name(column)}), ?) > 0`);
      args.push(plain(value));
    } else {
      parts.push(`${name(column)} ${how} ?`);
      args.push(value);
    }
  }
  if (search) {
    parts.push(`(${columns.map((column) => `instr(lower(${name(column)}), ?) > 0`).join(' OR ')})`);
    args.push(...columns.map(() => plain(search)));
  }
  return { where: parts.join(' AND '), args };
}

/** A view of a table: which rows, in which order. `changed()` is called when more of it is known. */
export class RowSource {
  constructor(table, { where = '', args = [], order = '_id' }, changed) {
    this.question = { table, where, args };
    this.order = order;
    this.changed = changed;
    this.count = null;
    this.error = null;
    this.pages = new Map();
    this.wanted = new Set();
    this.timer = 0;
    this.ended = false;
    this.stop = new AbortController();
  }

  /** Asks how many rows there are, and forgets what was read. */
  async refresh() {
    try {
      const { count } = await post('/api/data/count', this.question, this.stop.signal);
      if (this.ended) return;
      this.count = count;
      this.error = null;
    } catch (error) {
      if (this.ended) return;
      this.error = error;
    }
    this.pages.clear();
    this.wanted.clear();
    this.changed();
  }

  /** The row at a place, or nothing while it is on its way. */
  at(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** Puts a changed row in its place. */
  put(index, row) {
    const page = this.pages.get(Math.floor(index / PAGE));
    if (page?.[index % PAGE]) page[index % PAGE] = row;
    this.changed();
  }

  /** Says which rows are looked at. */
  look(from, to) {
    const first = Math.floor(Math.max(0, from) / PAGE);
    const last = Math.floor(Math.max(0, to - 1) / PAGE);
    this.wanted.clear();
    for (let page = first; page <= last; page += 1) if (!this.pages.has(page)) this.wanted.add(page);
    if (this.wanted.size === 0 || this.timer) return;
    this.timer = setTimeout(() => this.#fetch(), REST);
  }

  async #fetch() {
    this.timer = 0;
    for (const page of [...this.wanted]) {
      if (!this.wanted.has(page) || this.ended) continue;
      this.wanted.delete(page);
      try {
        const rows = await this.read(page * PAGE, PAGE);
        if (this.ended) return;
        this.pages.delete(page);
        this.pages.set(page, rows);
        if (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
        this.error = null;
      } catch (error) {
        if (this.ended) return;
        // Asked for again when somebody refreshes: in circles it would only fail again.
        this.pages.set(page, []);
        this.error = error;
      }
      this.changed();
    }
  }

  /** Rows of a range, asked for now. */
  read(offset, limit) {
    return post('/api/data/find', { ...this.question, order: this.order, limit, offset }, this.stop.signal);
  }

  end() {
    this.ended = true;
    clearTimeout(this.timer);
    this.stop.abort();
  }
}
