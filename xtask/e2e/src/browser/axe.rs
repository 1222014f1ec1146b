//! What axe-core finds: rules of accessibility that a program can check.

use anyhow::Result;
use fantoccini::Client;
use serde_json::json;

/// What axe finds on the page in a theme: the rule, and where.
pub(super) async fn violations(client: &Client, theme: &str) -> Result<Vec<String>> {
    let source = include_str!("../../vendor/axe.min.js");
    client
        .execute(
            "document.documentElement.dataset.theme = arguments[0]",
            vec![json!(theme)],
        )
        .await?;
    client.execute(source, vec![]).await?;
    let found = client
        .execute_async(
            // Sites in frames are their owners' business. Colours may still be changing when the theme just did; what turns for ever never ends.
            "const done = arguments[arguments.length - 1]; \
             Promise.allSettled(document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime !== Infinity).map((one) => one.finished)) \
               .then(() => axe.run({ exclude: [['iframe']] }, { iframes: false, resultTypes: ['violations'] })) \
               .then((result) => done(result.violations.map((v) => \
                 `${v.id}: ${v.nodes.map((n) => n.target.join(' ') + ' ' + n.any.map((c) => c.message).join(' ')).join('; ')}`)), \
                 (error) => done([String(error)]))",
            vec![],
        )
        .await?;
    Ok(serde_json::from_value(found)?)
}
