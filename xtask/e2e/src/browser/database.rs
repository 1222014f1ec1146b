//! "The database in the pages": a million rows, edited, taken back, sorted, searched, pasted; a table made; everything else
//! looked at once.

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use fantoccini::key::Key;
use goop_browser::devtools;
use serde_json::{Value, json};

use super::axe;
use super::find::{Name, Page};

struct Database<'a> {
    page: Page<'a>,
    origin: String,
}

impl Database<'_> {
    async fn at(&self, query: &str) -> Result<()> {
        self.page
            .client
            .goto(&format!("{}/database{query}", self.origin))
            .await?;
        self.page.the("heading", "Database").await.map(drop)
    }

    /// Nothing that a program finds wrong, in both themes.
    async fn is_accessible(&self, what: &str) -> Result<()> {
        for theme in ["light", "dark"] {
            let found = axe::violations(self.page.client, theme).await?;
            ensure!(found.is_empty(), "{what}, {theme}: {found:?}");
        }
        Ok(())
    }

    /// Waits until the cell with the focus has a text.
    async fn stands_on(&self, text: &str) -> Result<()> {
        let script = "const cell = document.activeElement; return cell.getAttribute('role') === 'gridcell' && cell.textContent === arguments[0]";
        self.page
            .holds(&format!("the focus is on “{text}”"), script, &[json!(text)])
            .await
    }

    /// A first load takes few requests, and a change of the page asks for little.
    async fn costs_little(&self) -> Result<()> {
        let page = self.page;
        self.at("").await?;
        page.first("button", Name::Has("words")).await?;
        let few = "return performance.getEntriesByType('resource').length < 15";
        page.holds("at most 15 requests, with the page itself", few, &[])
            .await?;
        page.press("link", "Logs").await?;
        page.the("heading", "Logs").await?;
        page.client
            .execute("performance.clearResourceTimings()", vec![])
            .await?;
        page.press("link", "Data").await?;
        page.first("button", Name::Has("words")).await?;
        let asked = "const asked = performance.getEntriesByType('resource').filter(({ name }) => name.includes('/api/data')); \
            return asked.length === 1 && performance.getEntriesByType('resource').filter(({ name }) => name.includes('/api/')).length <= 2";
        page.holds("one question for the tables", asked, &[]).await
    }

    async fn grid(&self) -> Result<()> {
        let page = self.page;
        self.at("").await?;
        page.press_first("button", Name::Has("words")).await?;
        page.says("1,000,000 rows").await?;
        let cell = page.the("gridcell", "word 1").await?;
        let rows = "return document.querySelector('[role=\"grid\"]').getAttribute('aria-rowcount') === '1000001' \
            && document.querySelectorAll('[role=\"row\"]').length < 80";
        page.holds("few of many rows", rows, &[]).await?;
        self.is_accessible("the grid").await?;
        // To the last row and back, without a mouse.
        cell.click().await?;
        self.stands_on("word 1").await?;
        page.chord(&[Key::Control], &char::from(Key::End).to_string())
            .await?;
        page.the("gridcell", "word 1000000").await?;
        page.chord(&[Key::Control], &char::from(Key::Home).to_string())
            .await?;
        self.stands_on("1").await?;
        // A cell is typed into, and what does not fit is said where it stands.
        page.key(Key::Down).await?;
        page.key(Key::Right).await?;
        self.stands_on("word 2").await?;
        page.key(Key::Enter).await?;
        page.fill("textbox", "Edit word", "by hand").await?;
        page.key(Key::Enter).await?;
        page.the("gridcell", "by hand").await?;
        self.stands_on("word 3").await?;
        page.key(Key::Right).await?;
        self.stands_on("3").await?;
        page.type_text("x").await?;
        page.key(Key::Enter).await?;
        page.says("A number is wanted here").await?;
        page.key(Key::Escape).await?;
        self.stands_on("3").await?;
        page.type_text("7").await?;
        page.key(Key::Enter).await?;
        // The focus goes on once the change is answered.
        self.stands_on("4").await?;
        page.chord(&[Key::Control], "z").await?;
        page.says("Taken back: change of size").await?;
        page.chord(&[Key::Control], "z").await?;
        page.the("gridcell", "word 2").await?;
        page.chord(&[Key::Control], "y").await?;
        page.the("gridcell", "by hand").await?;
        // Another order, other columns, fewer rows.
        page.press("button", "size").await?;
        page.press("button", "size").await?;
        page.the("gridcell", "word 1000000").await?;
        page.press("button", "Columns").await?;
        page.press("checkbox", "kind").await?;
        page.press("button", "Done").await?;
        page.gone("columnheader", "kind").await?;
        page.fill("searchbox", "Search in the shown columns", "word 77777")
            .await?;
        page.says("11 rows").await?;
        page.fill(
            "searchbox",
            "Search in the shown columns",
            "nothing like this",
        )
        .await?;
        page.the("heading", "No row fits").await?;
        page.fill("searchbox", "Search in the shown columns", "")
            .await?;
        page.says("1,000,000 rows").await?;
        page.press("button", "Filter").await?;
        self.is_accessible("a filter").await?;
        page.fill("textbox", "Value", "by hand").await?;
        page.press("button", "Apply").await?;
        page.says("one row").await?;
        page.press("button", "Remove the filter “word contains by hand”")
            .await?;
        page.says("1,000,000 rows").await?;
        // All of this was ranges, never the table: a page has a hundred rows of about 150 bytes.
        let asked = "const sent = performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/api/data/find')); \
            return sent.length > 3 && sent.length < 100 && sent.every((one) => one.decodedBodySize < 60_000)";
        page.holds("only ranges were asked for", asked, &[]).await
    }

    /// Both files hold every row, in the order of the grid, and what a spreadsheet would run stays text.
    async fn export(&self) -> Result<()> {
        let page = self.page;
        self.at("?table=guests").await?;
        page.the("gridcell", "Grace").await?;
        let keep = "const make = URL.createObjectURL.bind(URL); \
            URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return make(blob); }; return true";
        page.client.execute(keep, vec![]).await?;
        for (way, start, has) in [
            ("As CSV (spreadsheet)", "_id,_owner,", "Grace,3\r\n"),
            (
                "As JSON",
                "[\n{\"_id\":1,",
                "\"name\":\"Hedy\",\"visits\":2}\n]\n",
            ),
        ] {
            page.press("button", "Export").await?;
            page.press("menuitem", way).await?;
            let is = "return (window.saved ?? '').startsWith(arguments[0]) && window.saved.includes(arguments[1])";
            page.holds(way, is, &[json!(start), json!(has)]).await?;
        }
        Ok(())
    }

    /// A telephone: nothing is wider than it, and every part can be reached.
    async fn phone(&self) -> Result<()> {
        let page = self.page;
        let layout = include_str!("layout.js");
        devtools::size(page.client, 390, 844).await?;
        for (query, role, name) in [
            ("?table=words", "gridcell", "word 1"),
            ("?table=words&part=design", "button", "Delete the table"),
            ("?table=words&part=access", "rowheader", "Member “editor”"),
            ("?view=graphql", "textbox", "Document"),
            ("?view=transformations", "button", "New transformation"),
            ("?view=console", "textbox", "Statement"),
        ] {
            self.at(query).await?;
            page.the(role, name)
                .await
                .with_context(|| query.to_owned())?;
            let wrong = page.client.execute_async(layout, vec![]).await?;
            ensure!(wrong == json!([]), "{query}: {wrong}");
            self.is_accessible(&format!("{query} on a telephone"))
                .await?;
        }
        self.at("").await?;
        page.press("button", "New table").await?;
        page.the("textbox", "Name of the table").await?;
        let wrong = page.client.execute_async(layout, vec![]).await?;
        ensure!(wrong == json!([]), "a new table: {wrong}");
        Ok(())
    }

    /// Rows come, go and come back; what others wrote stays text.
    async fn rows(&self, hostile: &str) -> Result<()> {
        let page = self.page;
        self.at("?table=guests").await?;
        page.the("gridcell", hostile).await?;
        page.press("button", "Row").await?;
        self.is_accessible("a new row").await?;
        page.fill("textbox", "name", "Ada").await?;
        page.fill("textbox", "visits", "many").await?;
        page.press("button", "Add").await?;
        page.says("A whole number is wanted here").await?;
        page.fill("textbox", "visits", "9").await?;
        page.press("button", "Add").await?;
        page.the("gridcell", "Ada").await?;
        page.press("button", "Actions for row 1").await?;
        page.press("menuitem", "Delete the row").await?;
        page.gone("gridcell", "Grace").await?;
        page.press_first("button", Name::Has("Undo: deleted row"))
            .await?;
        page.the("gridcell", "Grace").await?;
        page.press("button", "Paste").await?;
        let field = page.the("textbox", "Cells from a spreadsheet").await?;
        let put = "const [field, text] = arguments; field.value = text; field.dispatchEvent(new Event('input', { bubbles: true })); return true";
        page.client
            .execute(put, vec![json!(field), json!("Mary\t4\n\"Anne\tB\"\tx\n")])
            .await?;
        page.press("button", "Paste as new rows").await?;
        page.says("Row 2 of the clipboard, visits").await?;
        page.press("button", "Paste").await?;
        let field = page.the("textbox", "Cells from a spreadsheet").await?;
        page.client
            .execute(put, vec![json!(field), json!("Mary\t4\r\n")])
            .await?;
        page.press("button", "Paste as new rows").await?;
        page.the("gridcell", "Mary").await?;
        page.says("5 rows").await?;
        let title = page.client.title().await?;
        ensure!(title == "Database · Goop²", "somebody's text ran: {title}");
        Ok(())
    }

    async fn design(&self) -> Result<()> {
        let page = self.page;
        page.press("button", "New table").await?;
        page.fill("textbox", "Name of the table", "1 bad name")
            .await?;
        page.press("button", "Create table").await?;
        page.says("invalid table name").await?;
        page.fill("textbox", "Name of the table", "scores").await?;
        page.press("button", "Add column").await?;
        page.fill("textbox", "Column 2: Name", "points").await?;
        page.says("CREATE TABLE \"scores\"").await?;
        page.says("\"points\" TEXT").await?;
        page.says("insert not allowed: this table only accepts data from the site owner")
            .await?;
        self.is_accessible("the designer").await?;
        page.press("button", "Create table").await?;
        page.the("heading", "No rows yet").await?;
        page.press("tab", "Access").await?;
        page.the("table", "What can a stranger do here?").await?;
        self.is_accessible("access").await?;
        // What a role may follows at once, before anything is saved.
        page.fill("textbox", "New role", "writer").await?;
        page.press("button", "Add role").await?;
        page.the("rowheader", "Member “writer”").await?;
        page.press("checkbox", "writer: Add").await?;
        page.press("button", "Save access").await?;
        page.says("Access saved").await?;
        page.press("tab", "Design").await?;
        self.is_accessible("a table's design").await?;
        page.press("button", "Delete the table").await?;
        page.fill("textbox", "Type scores to go on", "scores")
            .await?;
        let dialog = page.the("dialog", "Delete the table scores?").await?;
        page.press_in(Some(&dialog), "button", "Delete the table")
            .await?;
        page.says("The table scores is deleted").await?;
        page.gone("heading", "scores").await
    }

    async fn questions(&self) -> Result<()> {
        let page = self.page;
        page.press("tab", "GraphQL").await?;
        page.the("textbox", "Document").await?;
        page.press("button", "Put words_by_pk into the document")
            .await?;
        page.press("button", "Run").await?;
        page.says("\"word 1\"").await?;
        self.is_accessible("GraphQL").await?;
        page.press("tab", "SQL").await?;
        page.fill("textbox", "Statement", "DELETE FROM guests")
            .await?;
        page.press("button", "Run").await?;
        page.the("heading", "That did not work").await?;
        page.fill("textbox", "Statement", "SELECT count(*) AS many FROM words")
            .await?;
        page.chord(&[Key::Control], &char::from(Key::Enter).to_string())
            .await?;
        page.the("cell", "1000000").await?;
        self.is_accessible("SQL").await
    }

    async fn transformations(&self) -> Result<()> {
        let page = self.page;
        page.press("tab", "Transformations").await?;
        page.press_first("button", Name::Has("guest-list")).await?;
        page.press("button", "Preview").await?;
        page.the("cell", "GRACE").await?;
        self.is_accessible("a transformation").await?;
        page.press("button", "Run").await?;
        let dialog = page.the("dialog", "Run").await?;
        page.press_in(Some(&dialog), "button", "Run").await?;
        page.says("5 rows went to site/guests.csv").await
    }
}

pub(super) async fn run(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().context("a text").map(str::to_owned);
    client.goto(&text("link")?).await?;
    let database = Database {
        page: Page::new(client),
        origin: text("origin")?,
    };
    database.page.the("heading", "Peers").await?;
    database.costs_little().await?;
    database.grid().await?;
    database.export().await?;
    database.rows(&text("hostile")?).await?;
    database.design().await?;
    database.questions().await?;
    database.transformations().await?;
    database.phone().await
}
