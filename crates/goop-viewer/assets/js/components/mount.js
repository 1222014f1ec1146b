// How a page comes into the frame and goes, and what its parts share.
// Offers: mount, useLoad, useLive, useListener, memo, copyText.

import { listen } from '../events.js';
import { Component, h, html, render, useCallback, useEffect, useRef, useState } from '../../vendor/ui.js';
import { Failure } from './states.js';
import { toast } from './toast.js';

const strings = { noCopy: 'The browser did not allow copying. Mark the text and copy it by hand.' };

/** A page that could not be drawn says so instead of leaving nothing. */
class Page extends Component {
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }

  render({ view }, { error }) {
    return error ? html`<${Failure} error=${error} again=${() => this.setState({ error: null })} />` : view;
  }
}

/** Draws `view` into `main`; gives back how to take it away. */
export function mount(main, view) {
  main.replaceChildren();
  render(h(Page, { view }), main);
  return () => render(null, main);
}

/** Loads something when the part appears: `{data, error, loading, again, set}`. `data` stays while it is loaded again. */
export function useLoad(load, inputs = []) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const run = useRef(0);
  const again = useCallback(() => {
    run.current += 1;
    const mine = run.current;
    setState((old) => ({ ...old, loading: true }));
    const settle = (next) => mine === run.current && setState(next);
    return load().then(
      (data) => settle({ data, error: null, loading: false }),
      (error) => settle((old) => ({ ...old, error, loading: false })),
    );
  }, inputs);
  useEffect(() => {
    again();
    return () => { run.current += 1; };
  }, [again]);
  const set = useCallback((data) => setState((old) => ({ ...old, data, error: null })), []);
  return { ...state, again, set };
}

/** Milliseconds of rest after an event: several come together. */
const SETTLE = 500;

/** Loads something as `useLoad` does, and again every `pause` milliseconds and when a peer or the relay came, went or changed. */
export function useLive(load, pause) {
  const from = useLoad(load);
  useEffect(() => {
    let soon = 0;
    const timer = setInterval(from.again, pause);
    const stop = listen(({ topic }) => {
      if (!/^peer:|^relay:|^reset$/.test(topic) || soon) return;
      soon = setTimeout(() => { soon = 0; from.again(); }, SETTLE);
    });
    return () => {
      clearInterval(timer);
      clearTimeout(soon);
      stop();
    };
  }, []);
  return from;
}

/** Listens at `target` while the part is shown. */
export function useListener(target, name, listener, options) {
  const newest = useRef(listener);
  newest.current = listener;
  useEffect(() => {
    const call = (event) => newest.current(event);
    target.addEventListener(name, call, options);
    return () => target.removeEventListener(name, call, options);
  }, [target, name]);
}

/** A part that is drawn anew only when one of its properties is another. */
export const memo = (View) => class extends Component {
  shouldComponentUpdate(next) {
    return Object.keys({ ...next, ...this.props }).some((key) => next[key] !== this.props[key]);
  }

  render(props) {
    return h(View, props);
  }
};

/** Copies `text` and says `done`. */
export function copyText(text, done) {
  return Promise.resolve(navigator.clipboard?.writeText(text) ?? Promise.reject(new Error()))
    .then(() => toast(done, { level: 'success' }), () => toast(strings.noCopy, { level: 'error' }));
}

