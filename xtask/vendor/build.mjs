// Bundles what is listed in package.json into single ES modules that a browser loads as they are.
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { build } from 'esbuild';

const out = '../../crates/goop-viewer/assets/vendor';
await mkdir(out, { recursive: true });
await build({
  entryPoints: ['ui.js', 'editor.js', 'markdown.js'],
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  outdir: out,
  banner: { js: '/* Bundled from npm by `cargo xtask vendor`; licences in LICENSES.txt. */' },
});
await mkdir('../e2e/vendor', { recursive: true });
await copyFile('node_modules/axe-core/axe.min.js', '../e2e/vendor/axe.min.js');

const { readdir, readFile } = await import('node:fs/promises');
const texts = [];
async function collect(folder) {
  for (const name of (await readdir(folder)).sort()) {
    if (name.startsWith('.') || ['esbuild', '@esbuild', 'axe-core'].includes(name)) continue;
    if (name.startsWith('@')) { await collect(`${folder}/${name}`); continue; }
    const about = JSON.parse(await readFile(`${folder}/${name}/package.json`, 'utf8'));
    const files = await readdir(`${folder}/${name}`);
    const licence = files.find((file) => /^licen[cs]e/i.test(file));
    const text = licence ? await readFile(`${folder}/${name}/${licence}`, 'utf8') : `${about.license}\n`;
    texts.push(`${about.name} ${about.version} (${about.license})\n\n${text.trim()}\n`);
  }
}
await collect('node_modules');
await writeFile(`${out}/LICENSES.txt`, texts.join('\n----\n\n'));
