//! The build joins modules: what it makes of them, and what it refuses.
#![allow(clippy::unwrap_used)]

#[allow(
    dead_code,
    reason = "the build's own modules, of which a test needs a part"
)]
#[path = "../build/join.rs"]
mod join;
#[allow(
    dead_code,
    reason = "the build's own modules, of which a test needs a part"
)]
#[path = "../build/lex.rs"]
mod lex;
#[allow(
    dead_code,
    reason = "the build's own modules, of which a test needs a part"
)]
#[path = "../build/module.rs"]
mod module;

use std::collections::{BTreeMap, BTreeSet};

use join::{Sources, join};
use lex::{Kind, tokens};

/// Joins modules; `js/app.js` is the shell, and first unless there is a `js/boot.js`.
fn joined(modules: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
    let mut modules: BTreeMap<String, String> = modules
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    modules
        .entry("js/boot.js".to_owned())
        .or_insert_with(|| "import('./app.js');".to_owned());
    join(&Sources {
        modules: &modules,
        vendored: &BTreeSet::from(["vendor/ui.js".to_owned()]),
        first: "js/boot.js",
        shell: "js/app.js",
    })
}

/// `source` as the only module is refused, with these words in the reason.
fn refused(source: &str, reason: &str) {
    let error = joined(&[("js/app.js", source), ("js/a.js", "export const a = 1;")])
        .err()
        .unwrap_or_else(|| panic!("{source} was joined"));
    assert!(error.contains(reason), "{source}: {error}");
}

#[test]
fn modules_become_functions_in_the_order_they_need_each_other() {
    let files = joined(&[
        (
            "js/app.js",
            "import { tell } from './talk.js';\nimport { html as draw } from '../vendor/ui.js';\ntell(draw`x`);\n",
        ),
        (
            "js/talk.js",
            "import * as words from './words.js';\nexport function tell(x) { return words.hello + x; }\n",
        ),
        (
            "js/words.js",
            "// Says \"export default\" in a comment.\nexport const hello = 'import';\nconst inner = 2;\nexport { inner as outer };\n",
        ),
    ])
    .unwrap();
    assert_eq!(
        files["js/app.js"],
        "import { html as $vendor_ui_js_html } from '../vendor/ui.js';
const $vendor_ui_js = { html: $vendor_ui_js_html };
// js/words.js
const $1 = (() => {
// Says \"export default\" in a comment.
const hello = 'import';
const inner = 2;

return Object.freeze({ __proto__: null, hello: hello, outer: inner });
})();
// js/talk.js
const $2 = (() => {
const words = $1;

function tell(x) { return words.hello + x; }
return Object.freeze({ __proto__: null, tell: tell });
})();
// js/app.js
const $3 = (() => {
const { tell } = $2;
const { html: draw } = $vendor_ui_js;


tell(draw`x`);
return Object.freeze({ __proto__: null,  });
})();
export { $1, $2, $3 };
"
    );
}

#[test]
fn a_lazy_module_gets_a_file_and_what_two_of_them_need_lies_in_the_shell() {
    let files = joined(&[
        (
            "js/app.js",
            "const pages = [() => import('./pages/one.js'), () => import('./pages/two.js')];\n",
        ),
        (
            "js/pages/one.js",
            "import { both } from '../both.js';\nimport { only } from './only.js';\nexport const title = both + only;\n",
        ),
        (
            "js/pages/two.js",
            "import { both as x } from '../both.js';\nexport const title = x;\n",
        ),
        ("js/both.js", "export const both = 1;\n"),
        ("js/pages/only.js", "export const only = 2;\n"),
    ])
    .unwrap();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [
            "js/app.js",
            "js/boot.js",
            "js/pages/one.js",
            "js/pages/two.js"
        ]
    );
    let (shell, one) = (&files["js/app.js"], &files["js/pages/one.js"]);
    assert!(
        shell.contains("// js/both.js") && !shell.contains("// js/pages/only.js"),
        "{shell}"
    );
    assert!(
        one.contains("// js/pages/only.js") && !one.contains("// js/both.js"),
        "{one}"
    );
    assert!(
        one.starts_with("import { $") && one.contains("} from '../app.js';"),
        "{one}"
    );
    assert!(one.contains("export const { title } = $"), "{one}");
}

#[test]
fn a_lazy_import_leads_from_the_file_it_lies_in() {
    let files = joined(&[
        (
            "js/app.js",
            "import { page } from './pages/edit.js';\npage();\n",
        ),
        (
            "js/pages/edit.js",
            "export const page = () => import('../editor/page.js');\n",
        ),
        ("js/editor/page.js", "export const start = 1;\n"),
    ])
    .unwrap();
    assert!(
        files["js/app.js"].contains("import('./editor/page.js')"),
        "{}",
        files["js/app.js"]
    );
}

#[test]
fn what_is_passed_on_is_exported_and_not_seen_inside() {
    let files = joined(&[
        ("js/app.js", "import { told } from './dom.js';\ntold();\n"),
        ("js/dom.js", "export { tell as told } from './talk.js';\n"),
        (
            "js/talk.js",
            "export async function tell() {}\nexport class Talk {}\nexport function* all() {}\n",
        ),
    ])
    .unwrap();
    let shell = &files["js/app.js"];
    assert!(shell.contains("const { tell: $from0_0 } = $1;"), "{shell}");
    assert!(shell.contains("told: $from0_0"), "{shell}");
    assert!(
        shell.contains("tell: tell, Talk: Talk, all: all"),
        "{shell}"
    );
}

#[test]
fn words_in_texts_and_keys_are_no_statements() {
    joined(&[(
        "js/app.js",
        r"const strings = { import: 'import x', export: `export default ${[1, 2].map((x) => `${x}}`)} {`, of: x.import };
const pattern = a / b / c, other = /[/`'{]\//g.test('x') ? 1 : 2; // it's a `comment
/* export * from 'x' */ const last = strings['export'];
",
    )])
    .unwrap();
}

#[test]
fn refuses_what_it_does_not_know() {
    refused("export default 1;", "`export default`");
    refused("export let x = 1;", "`export let`");
    refused("export var x = 1;", "`export let`");
    refused("export * from './a.js';", "only `export const");
    refused("export const { x } = y;", "a name is expected");
    refused(
        "export const x = 1, y = 2;",
        "each name in a statement of its own",
    );
    refused("import a from './a.js';", "only `import { … } from`");
    refused("import './a.js';", "only `import { … } from`");
    refused("import { a } from 'a';", "must begin with ./ or ../");
    refused(
        "import { a } from '../../a.js';",
        "must begin with ./ or ../",
    );
    refused(
        "import { a } from './a.js'\nconst x = 1;",
        "`;` is expected where const stands",
    );
    refused("import { b } from './a.js';", "js/a.js exports no `b`");
    refused(
        "import { b } from './b.js';",
        "js/b.js is imported and not there",
    );
    refused(
        "import * as ui from '../vendor/ui.js';\nimport { a } from './a.js';",
        "import names from vendor/ui.js",
    );
    refused("const x = import.meta.url;", "only `import { … } from`");
    refused(
        "const f = () => { const x = import.meta.url; };",
        "`import` inside something else",
    );
    refused("import(`./${name}.js`);", "as a literal is expected");
    refused("const x = await f();", "`await` outside of a function");
    refused(
        "const a = 1;\nexport { a };\nexport { a };",
        "`a` is exported twice",
    );
    refused("const a = 1;", "js/a.js: nobody imports it");
    refused(
        "import { a } from './a.js';\nimport('./a.js');",
        "imported lazily, and at once",
    );
}

#[test]
fn refuses_a_circle_and_names_it() {
    let error = joined(&[
        ("js/app.js", "import { a } from './a.js';\n"),
        (
            "js/a.js",
            "import { b } from './b.js';\nexport const a = 1;\n",
        ),
        (
            "js/b.js",
            "import { a } from './a.js';\nexport const b = 1;\n",
        ),
    ]);
    assert_eq!(
        error.unwrap_err(),
        "modules import each other in a circle: js/a.js → js/b.js → js/a.js"
    );
}

#[test]
fn says_where_something_is_wrong() {
    let error = joined(&[("js/app.js", "\n\nexport let x = 1;\n")]).unwrap_err();
    assert!(error.starts_with("js/app.js: line 3: "), "{error}");
    for (source, what) in [
        ("const a = {", "`{` is never closed"),
        ("const a = [);", "`)` closes nothing"),
        ("const a = 'x\n';", "a string is never closed"),
        ("const a = `x${1}", "a template is never closed"),
        ("const a = `x${1", "`$` is never closed"),
        ("const a = /x\n/;", "a regular expression is never closed"),
        ("/* x", "a comment is never closed"),
    ] {
        refused(source, what);
    }
}

#[test]
fn any_text_is_joined_or_refused() {
    bolero::check!().with_type::<String>().for_each(|text| {
        if let Ok(found) = tokens(text) {
            for token in found {
                assert_eq!(&text[token.start..token.end()], token.text);
                assert!(token.kind != Kind::Mark || token.text.chars().count() == 1);
            }
        }
        let _ = joined(&[("js/app.js", text.as_str())]);
    });
}
