// Asking the peer's JSON API. An error says what happened and, where it can, what to do.
// Offers: get, post, remove, upload (with progress), download (with progress), ApiError.

const strings = {
  gone: 'The peer does not answer. Is it still running?',
  unclear: (status) => `The peer answered with status ${status} and nothing else.`,
  missing: 'This peer does not offer that yet. A newer version may.',
};

/** An answer that is not a success. `status` is 0 when nobody answered; `data` is the answer's JSON, if it was JSON. */
export class ApiError extends Error {
  constructor(status, text, data = null) {
    super(text);
    this.status = status;
    this.data = data;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function failed(status, text) {
  const data = parsed(text);
  const said = data ? data.error ?? data.message : text.trim();
  const plain = status === 404 && (!said || /^(404 )?(page )?not found$/i.test(said)) ? strings.missing : said;
  return new ApiError(status, plain || strings.unclear(status), data);
}

async function ask(path, options) {
  let response;
  let text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch {
    throw new ApiError(0, strings.gone);
  }
  if (!response.ok) throw failed(response.status, text);
  return text === '' ? null : parsed(text);
}

export const get = (path) => ask(path);

/** `signal` ends a question that nobody waits for any more. */
export const post = (path, body = {}, signal = undefined) =>
  ask(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), signal });

export const remove = (path) => ask(path, { method: 'DELETE' });

/** A file of the pages as text. */
export async function getText(path) {
  const response = await fetch(path).catch(() => {
    throw new ApiError(0, strings.gone);
  });
  const text = await response.text();
  if (!response.ok) throw failed(response.status, text);
  return text;
}

/** Sends a form. `onProgress(part)` hears how much is sent, from 0 to 1. */
export function upload(path, form, onProgress = () => {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', path);
    request.upload.addEventListener('progress', ({ loaded, total }) => onProgress(total ? loaded / total : 0));
    request.addEventListener('error', () => reject(new ApiError(0, strings.gone)));
    request.addEventListener('load', () => {
      if (request.status < 200 || request.status > 299) reject(failed(request.status, request.responseText));
      else resolve(parsed(request.responseText));
    });
    request.send(form);
  });
}

/** Fetches a file whole. `onProgress(bytes, total)` hears how much is there; `total` is 0 when nobody said. Gives
 * `{blob, name}`; `name` is what the answer calls the file, or ''. */
export async function download(path, onProgress = () => {}) {
  let response;
  try {
    response = await fetch(path);
  } catch {
    throw new ApiError(0, strings.gone);
  }
  if (!response.ok) throw failed(response.status, await response.text());
  const total = Number(response.headers.get('content-length') ?? 0);
  const parts = [];
  let bytes = 0;
  try {
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      bytes += value.length;
      onProgress(bytes, total);
    }
  } catch {
    throw new ApiError(0, strings.gone);
  }
  const name = response.headers.get('content-disposition')?.match(/filename="([^"]+)"/)?.[1] ?? '';
  return { blob: new Blob(parts, { type: response.headers.get('content-type') ?? '' }), name };
}
