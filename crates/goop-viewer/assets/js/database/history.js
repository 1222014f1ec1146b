// What was done to rows, so that it can be taken back and done again.
// Offers: History.

/** Steps that are kept. */
const MOST = 200;

/** A step is `{text, undo(), redo()}`; both give promises. One step at a time. */
export class History {
  constructor(changed) {
    this.changed = changed;
    this.done = [];
    this.undone = [];
    this.busy = false;
  }

  /** Does a step and remembers it. */
  async run(step) {
    await step.redo();
    this.done = [...this.done, step].slice(-MOST);
    this.undone = [];
    this.changed();
  }

  get undoText() { return this.done.at(-1)?.text ?? ''; }

  get redoText() { return this.undone.at(-1)?.text ?? ''; }

  undo() { return this.#move('done', 'undone', 'undo'); }

  redo() { return this.#move('undone', 'done', 'redo'); }

  /** A step that does not succeed stays where it was. */
  async #move(from, to, how) {
    const step = this[from].at(-1);
    if (!step || this.busy) return null;
    this.busy = true;
    try {
      await step[how]();
      this[from] = this[from].slice(0, -1);
      this[to] = [...this[to], step];
      return step;
    } finally {
      this.busy = false;
      this.changed();
    }
  }
}
