// What differs between two texts, line by line (Myers, "An O(ND) Difference Algorithm", 1986).

/** Most differences that are looked for one by one; texts that differ more are shown as replaced in one piece. */
const MAX_STEPS = 1000;

/**
 * Pairs the lines of two texts: `{mine, theirs, same}` with `{number, text}` or `null` where a side has no such line.
 */
export function pairs(mine, theirs) {
  const a = mine.split('\n');
  const b = theirs.split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const rows = [];
  const equal = (x, y) => rows.push({ mine: { number: x + 1, text: a[x] }, theirs: { number: y + 1, text: b[y] }, same: true });
  // Lines that went and lines that came between two equal ones stand beside each other.
  const block = (x, toX, y, toY) => {
    for (let step = 0; x + step < toX || y + step < toY; step += 1) {
      rows.push({
        mine: x + step < toX ? { number: x + step + 1, text: a[x + step] } : null,
        theirs: y + step < toY ? { number: y + step + 1, text: b[y + step] } : null,
        same: false,
      });
    }
  };
  for (let at = 0; at < head; at += 1) equal(at, at);
  let [x, y] = [head, head];
  for (const [nextX, nextY] of matches(a.slice(head, a.length - tail), b.slice(head, b.length - tail))) {
    block(x, nextX + head, y, nextY + head);
    equal(nextX + head, nextY + head);
    [x, y] = [nextX + head + 1, nextY + head + 1];
  }
  block(x, a.length - tail, y, b.length - tail);
  for (let at = tail; at > 0; at -= 1) equal(a.length - at, b.length - at);
  return rows;
}

/** The pairs of indices of lines both have, in order. */
function matches(a, b) {
  const limit = Math.min(a.length + b.length, MAX_STEPS);
  const trail = [];
  let ends = new Map([[1, 0]]);
  for (let d = 0; d <= limit; d += 1) {
    trail.push(new Map(ends));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (ends.get(k - 1) ?? -1) < (ends.get(k + 1) ?? -1));
      let x = down ? ends.get(k + 1) : ends.get(k - 1) + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) {
        x += 1;
        y += 1;
      }
      ends.set(k, x);
      if (x >= a.length && y >= b.length) return back(trail, a.length, b.length);
    }
  }
  return [];
}

function back(trail, endX, endY) {
  const found = [];
  let [x, y] = [endX, endY];
  for (let d = trail.length - 1; d >= 0; d -= 1) {
    const ends = trail[d];
    const k = x - y;
    const down = k === -d || (k !== d && (ends.get(k - 1) ?? -1) < (ends.get(k + 1) ?? -1));
    const before = down ? k + 1 : k - 1;
    const beforeX = d === 0 ? 0 : ends.get(before);
    const beforeY = d === 0 ? 0 : beforeX - before;
    while (x > beforeX && y > beforeY) {
      x -= 1;
      y -= 1;
      found.push([x, y]);
    }
    [x, y] = [beforeX, beforeY];
  }
  return found.reverse();
}

/** Leaves out equal lines further than `near` from a difference: `{skipped, rows}` stands for those. */
export function folded(rows, near = 3) {
  const keep = new Uint8Array(rows.length);
  rows.forEach((row, index) => {
    if (row.same) return;
    keep.fill(1, Math.max(0, index - near), Math.min(rows.length, index + near + 1));
  });
  const list = [];
  for (let at = 0; at < rows.length;) {
    let end = at;
    while (end < rows.length && !keep[end]) end += 1;
    // A gap of one line is no shorter than the line.
    if (end - at > 1) list.push({ skipped: end - at, rows: rows.slice(at, end) });
    else if (end - at === 1) list.push(rows[at]);
    at = end;
    while (at < rows.length && keep[at]) list.push(rows[at++]);
  }
  return list;
}
