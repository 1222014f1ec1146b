// Runs before the pages of a tab: keeps what the tab said about its connection, and can spoil answers with the list.
window.said = [];
addEventListener('DOMContentLoaded', () => {
  const status = document.querySelector('header [role="status"]');
  const keep = () => { if (status.textContent.trim() && window.said.at(-1) !== status.textContent.trim()) window.said.push(status.textContent.trim()); };
  new MutationObserver(keep).observe(status, { childList: true, characterData: true, subtree: true });
  keep();
});
window.waiting = 0;
const ask = window.fetch;
window.fetch = (path, ...more) => {
  if (path !== '/api/peers') return ask(path, ...more);
  window.waiting += 1;
  return spoilt(path, ...more).finally(() => setTimeout(() => { window.waiting -= 1; }, 100));
};
async function spoilt(path, ...more) {
  if (window.lose > 0) {
    window.lose -= 1;
    throw new TypeError('the answer was lost');
  }
  const answer = await ask(path, ...more);
  const text = await answer.text();
  // What the list says is older than what is told meanwhile.
  if (window.late > 0) await new Promise((done) => { setTimeout(done, window.late); });
  return new Response(text, { status: answer.status, headers: answer.headers });
}
