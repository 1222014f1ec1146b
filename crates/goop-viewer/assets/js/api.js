// Asking the peer's JSON API. An error says what happened and, where it can, what to do.

const strings = {
  gone: 'The peer does not answer. Is it still running?',
};

/** An answer that is not a success. `status` is 0 when nobody answered. */
export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(0, strings.gone);
  }
  if (!response.ok) throw new ApiError(response.status, (await response.text()).trim());
  const text = await response.text();
  return text === '' ? null : JSON.parse(text);
}

export const get = (path) => ask(path);

export const post = (path, body = {}) =>
  ask(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

export const upload = (path, form) => ask(path, { method: 'POST', body: form });
