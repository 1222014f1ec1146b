// The rows of the list of peers as they are shown: who, how they are called, whether they are there, whether they are favourites.
const WORDS = { here: 'here', 'here, not answering': 'quiet' };
const list = document.querySelector('[role="list"][aria-label="Peers"]');
return [...list?.children ?? []].map((row) => {
  const name = row.querySelector('a[href^="/peer/"]');
  const words = row.querySelector('.presence').textContent.trim();
  return {
    id: name.getAttribute('href').split('/').at(-1), name: name.textContent, presence: WORDS[words] ?? (words.startsWith('last seen ') ? 'away' : words),
    favorite: row.querySelector('[aria-pressed]').getAttribute('aria-pressed') === 'true',
  };
}).sort((a, b) => (a.id < b.id ? -1 : 1));
