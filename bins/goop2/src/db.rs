//! `goop2 db <dir> …`: the database of a peer folder, from outside.
//!
//! Looking, copying and asking work beside the running peer: SQLite keeps readers and its one writer apart. What changes
//! the database takes the folder's lock and says who has it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use argh::FromArgs;
use goop_data::tool::{Access, Line, Report, Tool};
use goop_data::{DataError, Database, FILE, Health, Incoming, Splitter};
use goop_identity::Profile;
use goop_identity::config::ConfigStore;
use goop_identity::folder::{CONFIG_FILE, PeerFolder, existing_folder};
use goop_site::archive::{self, Manifest, Writer};
use goop_viewer::write_database;
use tokio::runtime::{Handle, Runtime};

/// Where an archive is unpacked, and what was there before it is kept.
const WORK: &str = "data/import";
/// What the shell understands beside SQL.
const HELP: &str = ".tables   the tables\n.help     this text\n.quit     leave (or Ctrl-D)\nA statement ends with a semicolon.";

/// Look at a peer's database, copy it, take it out and in, ask it.
#[derive(FromArgs, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "db")]
pub(crate) struct DbCommand {
    /// the peer folder
    #[argh(positional)]
    dir: PathBuf,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs, Debug, PartialEq, Eq)]
#[argh(subcommand)]
enum Action {
    Check(Check),
    Backup(Backup),
    Export(Export),
    Import(Import),
    Shell(Shell),
}

/// Look through the whole database and say what is in it; works while the peer runs.
#[derive(FromArgs, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "check")]
struct Check {}

/// Write a copy of the database to a new file; works while the peer runs.
#[derive(FromArgs, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "backup")]
struct Backup {
    /// the file to write; it must not exist
    #[argh(positional)]
    file: PathBuf,
}

/// Write all tables with their rows and schemas to a zip file, in the form of an exported site; works while the peer runs.
#[derive(FromArgs, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "export")]
struct Export {
    /// the file to write; it must not exist
    #[argh(positional)]
    file: PathBuf,
}

/// Bring the tables of an export in, with every row or not at all; the peer must not run. Its pages can do it, too.
#[derive(FromArgs, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "import")]
struct Import {
    /// the zip file of an export; its pages and scripts are left aside
    #[argh(positional)]
    file: PathBuf,
    /// replace tables that are here, with all their rows
    #[argh(switch)]
    replace: bool,
}

/// Ask the database in SQL, from the keyboard or a pipe; reading works while the peer runs.
#[derive(FromArgs, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "shell")]
struct Shell {
    /// statements may change the database; the peer must not run
    #[argh(switch)]
    write: bool,
}

/// Does it; says what it did.
pub(crate) fn run(command: &DbCommand) -> ExitCode {
    match obey(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: &DbCommand) -> Result<ExitCode, String> {
    let dir = existing_folder(&command.dir).map_err(|error| error.to_string())?;
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let creates = matches!(command.action, Action::Import(_));
    if !creates && !dir.join(FILE).exists() {
        return Err(format!(
            "{} has no database ({FILE}) yet: its peer makes it when it starts",
            dir.display()
        ));
    }
    runtime.block_on(async {
        match &command.action {
            Action::Check(Check {}) => check(&dir).await,
            Action::Backup(Backup { file }) => backup(&dir, file).await,
            Action::Export(Export { file }) => export(&dir, file).await,
            Action::Import(import) => bring_in(&dir, import).await,
            Action::Shell(Shell { write }) => shell(&dir, *write).await,
        }
    })
}

fn said(error: DataError) -> String {
    error.to_string()
}

async fn check(dir: &Path) -> Result<ExitCode, String> {
    let mut tool = Tool::open(dir, Access::Read).await.map_err(said)?;
    let Report {
        size,
        complaints,
        tables,
    } = tool.check().await.map_err(said)?;
    println!(
        "{}: {} KiB, {} tables",
        dir.join(FILE).display(),
        size.div_ceil(1024),
        tables.len()
    );
    let mut broken = !complaints.is_empty();
    for table in &tables {
        match &table.rows {
            Ok(rows) => println!("  {}: {rows} rows, {}", table.name, table.kind),
            Err(why) => {
                broken = true;
                println!("  {}: its rows cannot be read: {why}", table.name);
            }
        }
    }
    for complaint in &complaints {
        println!("  DAMAGED  {complaint}");
    }
    if broken {
        println!(
            "The database is damaged. The peer brings over what can be read when it starts, and keeps the damaged file; \
             `goop2 db {} backup <file>` copies what can be copied.",
            dir.display()
        );
        return Ok(ExitCode::FAILURE);
    }
    println!("The database is whole.");
    Ok(ExitCode::SUCCESS)
}

fn must_be_new(file: &Path) -> Result<(), String> {
    if file.exists() {
        return Err(format!(
            "{} exists already; nothing was written",
            file.display()
        ));
    }
    Ok(())
}

async fn backup(dir: &Path, file: &Path) -> Result<ExitCode, String> {
    must_be_new(file)?;
    let tool = Tool::open(dir, Access::Read).await.map_err(said)?;
    tool.backup(file).await.map_err(said)?;
    println!(
        "{} is a copy of the database, whole by itself.",
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}

async fn export(dir: &Path, file: &Path) -> Result<ExitCode, String> {
    must_be_new(file)?;
    let cannot = |error: io::Error| format!("{} cannot be written: {error}", file.display());
    let dump = goop_data::Dump::of(dir).await.map_err(said)?;
    let tables = dump.tables().len();
    let config = ConfigStore::open(&dir.join(CONFIG_FILE)).map_err(|error| error.to_string())?;
    let config = config.current();
    let manifest = Manifest {
        version: 1,
        label: Profile::of(&config).label,
        exported_at: goop_data::moment::rfc3339_now(),
        lua_enabled: config.lua.enabled,
        ..Manifest::default()
    };
    // Beside its place first: a part is never taken for the whole.
    let folder = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
    let runtime = Handle::current();
    let written = tokio::task::spawn_blocking(move || {
        let mut writer = Writer::new(BufWriter::new(temporary.as_file()));
        write_database(&mut writer, manifest, dump, runtime)?;
        writer.finish()?;
        temporary.as_file().sync_all()?;
        Ok(temporary)
    });
    let temporary = written
        .await
        .map_err(io::Error::other)
        .and_then(|done| done)
        .map_err(cannot)?;
    temporary
        .persist_noclobber(file)
        .map_err(|error| cannot(error.error))?;
    println!(
        "{} holds {tables} tables with every row. Import it in a peer's pages (Me), or with `goop2 db <dir> import`.",
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The lock of a folder whose database is to be changed.
fn locked(dir: &Path) -> Result<PeerFolder, String> {
    PeerFolder::open(dir).map_err(|error| {
        format!("{error}. Only looking (check, backup, export, shell) works beside a running peer.")
    })
}

async fn bring_in(dir: &Path, import: &Import) -> Result<ExitCode, String> {
    let _folder = locked(dir)?;
    let file = &import.file;
    let opened =
        File::open(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let work = dir.join(WORK);
    fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let unpacked = tempfile::tempdir_in(&work).map_err(|error| error.to_string())?;
    archive::unpack_database(BufReader::new(opened), unpacked.path())
        .map_err(|error| error.to_string())?;
    let terminal = io::stderr().is_terminal();
    let told: goop_data::Told = Arc::new(move |rows, of| {
        if terminal && rows % 10_000 == 0 {
            eprint!(
                "\r{rows}{} rows",
                of.map(|of| format!(" of {of}")).unwrap_or_default()
            );
        }
    });
    let incoming = Incoming::read(unpacked.path(), &told).await.map_err(said)?;
    if incoming.tables().is_empty() {
        return Err(format!("{} holds no tables", file.display()));
    }
    let database = Database::open(dir).await.map_err(said)?;
    if let Health::Salvaged(salvaged) = database.health() {
        eprintln!("{salvaged}");
    }
    let done = into(&database, incoming, import, &work, told).await;
    database.close().await;
    done
}

async fn into(
    database: &Database,
    incoming: Incoming,
    import: &Import,
    work: &Path,
    told: goop_data::Told,
) -> Result<ExitCode, String> {
    let replaced = database.replaced_by(&incoming).await.map_err(said)?;
    if !replaced.is_empty() && !import.replace {
        let tables: Vec<String> = replaced
            .iter()
            .map(|(name, rows)| format!("{name} ({rows} rows)"))
            .collect();
        return Err(format!(
            "these tables are here already: {}. `--replace` replaces them with all their rows; nothing was changed",
            tables.join(", ")
        ));
    }
    let backup = work.join("backups").join(archive::stamp());
    fs::create_dir_all(&backup).map_err(|error| error.to_string())?;
    let copy = backup.join(FILE);
    database.backup(&copy).await.map_err(said)?;
    let brought = database.bring_in(incoming, "", told).await.map_err(said)?;
    for (name, rows) in &brought {
        println!("  {name}: {rows} rows");
    }
    println!(
        "{} tables came in. The database from before is {}.",
        brought.len(),
        copy.display()
    );
    Ok(ExitCode::SUCCESS)
}

async fn shell(dir: &Path, write: bool) -> Result<ExitCode, String> {
    let _folder = write.then(|| locked(dir)).transpose()?;
    let access = if write { Access::Write } else { Access::Read };
    let mut tool = Tool::open(dir, access).await.map_err(said)?;
    let typed = io::stdin().is_terminal();
    if typed {
        println!(
            "The database of {}{}. .help tells more.",
            dir.display(),
            if write { "" } else { ", to read" }
        );
    }
    let mut splitter = Splitter::default();
    let (mut line, mut failed) = (String::new(), false);
    loop {
        if typed {
            print!(
                "{}",
                if splitter.is_empty() {
                    "goop2> "
                } else {
                    "   ...> "
                }
            );
            let _ = io::stdout().flush();
        }
        line.clear();
        let read = io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        let statements = if read == 0 {
            splitter.take().map_err(said)?.into_iter().collect()
        } else if splitter.is_empty() && line.starts_with('.') {
            match line.trim() {
                ".quit" | ".exit" => return Ok(exit(failed)),
                ".tables" => vec!["SELECT name FROM _tables ORDER BY name".to_owned()],
                _ => {
                    println!("{HELP}");
                    continue;
                }
            }
        } else {
            splitter.push(line.as_bytes()).map_err(said)?
        };
        for statement in statements {
            let done = tool.run(&statement, &mut print).await;
            if let Err(error) = done {
                eprintln!("Error: {error}");
                failed = true;
                if !typed {
                    return Ok(exit(failed));
                }
            }
        }
        if read == 0 {
            return Ok(exit(failed && !typed));
        }
    }
}

fn exit(failed: bool) -> ExitCode {
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// One line of an answer. Whoever reads may have left.
fn print(line: Line) {
    let text = match line {
        Line::Names(names) => names.join(" | "),
        Line::Row(values) => values.join(" | "),
        Line::Changed(0) => return,
        Line::Changed(rows) => format!("{rows} rows changed"),
    };
    let _ = writeln!(io::stdout(), "{text}");
}
