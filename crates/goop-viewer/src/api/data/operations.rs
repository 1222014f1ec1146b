//! Every operation on data, once: routes and their description are made of this table.

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{OpenApi, Required, ResponseBuilder};

/// How an operation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// One operation.
pub(super) struct Operation {
    /// The end of its address.
    pub(super) suffix: &'static str,
    /// How the owner asks for it at `/api/data/<suffix>`, if there.
    pub(super) own: Option<Method>,
    /// Whether pages of sites ask for it at `/api/p/<peer>/data/<suffix>`.
    pub(super) of_sites: bool,
    /// What it does, and what it answers.
    about: &'static str,
    /// What its body holds; those before the bar must be there.
    needs: &'static [Field],
    takes: &'static [Field],
}

/// One member of a body.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    kind: Kind,
    about: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Truth,
    Anything,
    Texts,
    Values,
    Object,
    Objects,
}

const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, about }
}

const TABLE: Field = field("table", Kind::Text, "a table of the owner, or `_groups`");
const NAME: Field = field("name", Kind::Text, "the name");
const WHERE: Field = field(
    "where",
    Kind::Text,
    "which rows: an expression over the columns of the table, with `?` for what comes from elsewhere",
);
const ARGS: Field = field("args", Kind::Values, "what the marks stand for");
const ORDER: Field = field(
    "order",
    Kind::Text,
    "columns, each with `ASC` or `DESC` or without",
);
const LIMIT: Field = field(
    "limit",
    Kind::Number,
    "rows at most; 0: as many as there are",
);
const OFFSET: Field = field("offset", Kind::Number, "rows to leave out first");
const COLUMNS: Field = field(
    "columns",
    Kind::Texts,
    "columns or expressions to show; all where it is missing",
);
const FIELDS: Field = field("fields", Kind::Texts, "the same by another name");
const COLUMN: Field = field("column", Kind::Text, "a column (sites: also `column_name`)");
const EXPR: Field = field(
    "expr",
    Kind::Text,
    "figures, such as `COUNT(*) AS n, MAX(pages)`",
);
const GROUP_BY: Field = field(
    "group_by",
    Kind::Text,
    "rows with the same of these make one",
);
const DATA: Field = field("data", Kind::Object, "values by column");
const ID: Field = field("id", Kind::Number, "the row's `_id`");
const KEY: Field = field(
    "key_col",
    Kind::Text,
    "the column whose value tells which row",
);
const ACCESS: Field = field(
    "access",
    Kind::Object,
    "`read`, `insert`, `update`, `delete`: `owner`, `open`, `group` or `local`",
);
const COLUMN_DEF: Field = field("column", Kind::Object, "`{name,type,not_null,default}`");
const SCHEMA_COLUMNS: Field = field(
    "columns",
    Kind::Objects,
    "`{name,type,key,required,auto,default,values}`",
);

const fn both(
    suffix: &'static str,
    about: &'static str,
    needs: &'static [Field],
    takes: &'static [Field],
) -> Operation {
    Operation {
        suffix,
        own: Some(Method::Post),
        of_sites: true,
        about,
        needs,
        takes,
    }
}

const fn read(suffix: &'static str, of_sites: bool, about: &'static str) -> Operation {
    Operation {
        suffix,
        own: Some(Method::Get),
        of_sites,
        about,
        needs: &[],
        takes: &[],
    }
}

const fn own(
    suffix: &'static str,
    about: &'static str,
    needs: &'static [Field],
    takes: &'static [Field],
) -> Operation {
    Operation {
        suffix,
        own: Some(Method::Post),
        of_sites: false,
        about,
        needs,
        takes,
    }
}

const fn site(
    suffix: &'static str,
    about: &'static str,
    needs: &'static [Field],
    takes: &'static [Field],
) -> Operation {
    Operation {
        suffix,
        own: None,
        of_sites: true,
        about,
        needs,
        takes,
    }
}

/// Every operation.
pub(super) const OPERATIONS: &[Operation] = &[
    read(
        "tables",
        true,
        "The tables: `[{name,insert_policy,created_at}]`, for the owner with `mode` (`orm`, `classic`).",
    ),
    read("orm-schema", true, "Schemas of typed tables by name."),
    both(
        "query",
        "Rows, or `null`.",
        &[TABLE],
        &[COLUMNS, WHERE, ARGS, ORDER, LIMIT, OFFSET],
    ),
    both(
        "find",
        "Rows.",
        &[TABLE],
        &[FIELDS, WHERE, ARGS, ORDER, LIMIT, OFFSET],
    ),
    both(
        "find-one",
        "The first row that fits, or `null`.",
        &[TABLE],
        &[FIELDS, WHERE, ARGS, ORDER],
    ),
    both(
        "get-by",
        "The row with a value in a column, or `null`.",
        &[TABLE, COLUMN],
        &[field("value", Kind::Anything, "the value")],
    ),
    both(
        "exists",
        "`{exists}`: whether a row fits.",
        &[TABLE],
        &[WHERE, ARGS],
    ),
    both(
        "count",
        "`{count}`: how many rows fit.",
        &[TABLE],
        &[WHERE, ARGS],
    ),
    both(
        "pluck",
        "Values of one column.",
        &[TABLE, COLUMN],
        &[WHERE, ARGS, ORDER, LIMIT],
    ),
    both(
        "distinct",
        "Values of one column, each once, in order.",
        &[TABLE, COLUMN],
        &[WHERE, ARGS],
    ),
    both(
        "aggregate",
        "Figures about rows, as a list of objects.",
        &[TABLE, EXPR],
        &[GROUP_BY, WHERE, ARGS, ORDER, LIMIT],
    ),
    both("insert", "Adds a row: `{status,id}`.", &[TABLE, DATA], &[]),
    both(
        "update",
        "Changes a row: `{status}`.",
        &[TABLE, ID, DATA],
        &[],
    ),
    both("delete", "Deletes a row: `{status}`.", &[TABLE, ID], &[]),
    both(
        "update-where",
        "Changes all rows that fit: `{affected}`.",
        &[TABLE, WHERE, DATA],
        &[ARGS],
    ),
    both(
        "delete-where",
        "Deletes all rows that fit: `{affected}`.",
        &[TABLE, WHERE],
        &[ARGS],
    ),
    both(
        "upsert",
        "Changes the row with that key, or adds it: `{status,id}`.",
        &[TABLE, KEY, DATA],
        &[],
    ),
    both(
        "role",
        "What the caller may with a table: `{role,permissions}`.",
        &[TABLE],
        &[],
    ),
    site(
        "lua/list",
        "The data functions of the site: `{functions}`.",
        &[],
        &[],
    ),
    site(
        "lua/call",
        "Calls a data function; its answer.",
        &[field("function", Kind::Text, "its name")],
        &[field("params", Kind::Object, "what it is given")],
    ),
    both(
        "tables/create",
        "Makes a table: `{status,table}`, for the owner with `mode`. Owner only.",
        &[NAME, SCHEMA_COLUMNS],
        &[],
    ),
    both(
        "tables/describe",
        "Schema or columns of a table.",
        &[TABLE],
        &[],
    ),
    both(
        "tables/delete",
        "Deletes a table with its rows: `{status,table}`. Owner only.",
        &[TABLE],
        &[],
    ),
    both(
        "tables/rename",
        "Renames a table: `{status,new_name}`. Owner only.",
        &[
            field("old_name", Kind::Text, "its name so far"),
            field("new_name", Kind::Text, "its name from now on"),
        ],
        &[],
    ),
    both(
        "tables/add-column",
        "Adds a column: `{status}`. Owner only.",
        &[TABLE, COLUMN_DEF],
        &[],
    ),
    both(
        "tables/drop-column",
        "Takes a column away: `{status}`. Owner only.",
        &[TABLE, COLUMN],
        &[],
    ),
    own(
        "insert-many",
        "Adds up to 10,000 rows as one change: `{status,count,first,last}`, the first and the last `_id`.",
        &[TABLE, field("rows", Kind::Objects, "values by column")],
        &[],
    ),
    own(
        "console",
        "Reads with a statement of SQL, at most 1,000 rows and 4 MiB: `{columns,rows,more}`. Any other statement is refused.",
        &[field("sql", Kind::Text, "one statement, at most 64 KiB")],
        &[ARGS],
    ),
    own(
        "tables/rights",
        "What a stranger, a member of each role and the owner may do with a table: `{table,callers}`.",
        &[TABLE],
        &[
            ACCESS,
            field(
                "roles",
                Kind::Object,
                "rules that are being edited, instead of the table's",
            ),
        ],
    ),
    own(
        "tables/set-policy",
        "Sets who may add rows: `{status,policy}`.",
        &[
            TABLE,
            field("policy", Kind::Text, "`owner`, `open`, `group` or `local`"),
        ],
        &[],
    ),
    own(
        "tables/export-schema",
        "The schema of a table; a classic one is described by its columns.",
        &[TABLE],
        &[],
    ),
    read(
        "schemas",
        false,
        "The schema files: `[{name,columns,has_key,context,access}]`.",
    ),
    own(
        "schemas/get",
        "A schema: of the file, else the stored one.",
        &[NAME],
        &[],
    ),
    own(
        "schemas/save",
        "Writes a schema file: `{status,name}`.",
        &[NAME, SCHEMA_COLUMNS],
        &[ACCESS],
    ),
    own(
        "schemas/delete",
        "Deletes a schema file: `{status}`.",
        &[NAME],
        &[],
    ),
    own(
        "schemas/ddl",
        "The statement that makes the table of a schema: `{ddl}`.",
        &[NAME, SCHEMA_COLUMNS],
        &[],
    ),
    own(
        "schemas/apply",
        "Makes the table of a schema file: `{status,table}`.",
        &[NAME],
        &[],
    ),
    own(
        "schemas/set-context",
        "Sets whether GraphQL and other peers' queries show the table: `{status,context}`.",
        &[NAME, field("context", Kind::Truth, "whether they do")],
        &[],
    ),
    own(
        "schemas/set-access",
        "Sets who may do what: `{status,access}`.",
        &[NAME, ACCESS],
        &[],
    ),
    own(
        "schemas/set-roles",
        "Sets what each role may: `{status,roles}`.",
        &[
            NAME,
            field(
                "roles",
                Kind::Object,
                "`{read,insert,update,delete}` by role",
            ),
        ],
        &[],
    ),
];

/// Writes an operation into the description of the API.
pub(super) fn describe(document: &mut OpenApi, path: &str, operation: &Operation, method: Method) {
    let of_site = path.starts_with("/api/p/");
    let said = |status: &str, text: &str| {
        (
            status.to_owned(),
            ResponseBuilder::new().description(text).build(),
        )
    };
    let mut answers = vec![
        said(
            "200",
            "JSON. The header or trailer `goop-more: true` says that the answer was cut at the caller's limits",
        ),
        said("400", "a field is missing or makes no sense"),
        said("404", "there is no such schema, file or operation"),
        said("500", "not allowed, or what SQLite says"),
        said("503", "the database is closed"),
    ];
    if of_site {
        answers.push(said("502", "the peer does not answer"));
    }
    let described = answers
        .into_iter()
        .fold(OperationBuilder::new(), |described, (status, answer)| {
            described.response(status, answer)
        });
    let mut described = described.tag("data").summary(Some(operation.about));
    if of_site {
        described = described
            .description(Some(
                "On the site's own origin, for its pages: those of the own site are the owner's, others are this peer to \
                 their owner. Where the site is published, guests ask as strangers.",
            ))
            .parameter(
                ParameterBuilder::new()
                    .name("peer")
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .description(Some("whose data"))
                    .schema(Some(ObjectBuilder::new().schema_type(Type::String).build())),
            );
    }
    let fields = || operation.needs.iter().chain(operation.takes);
    if method == Method::Post && fields().next().is_some() {
        let mut body = ObjectBuilder::new();
        for field in fields() {
            body = body.property(field.name, schema(*field));
        }
        for field in operation.needs {
            body = body.required(field.name);
        }
        let content = ContentBuilder::new()
            .schema(Some(Schema::from(body)))
            .build();
        described = described.request_body(Some(
            RequestBodyBuilder::new()
                .content("application/json", content)
                .required(Some(Required::True))
                .build(),
        ));
    }
    let method = match method {
        Method::Get => HttpMethod::Get,
        Method::Post => HttpMethod::Post,
    };
    let item = PathItem::new(method, described);
    match document.paths.paths.get_mut(path) {
        Some(known) => known.merge_operations(item),
        None => {
            document.paths.paths.insert(path.to_owned(), item);
        }
    }
}

fn schema(field: Field) -> Schema {
    let plain = |kind: Type| ObjectBuilder::new().schema_type(kind);
    let list = |of: ObjectBuilder| {
        Schema::from(ArrayBuilder::new().items(of).description(Some(field.about)))
    };
    let one = |kind: Type| Schema::from(plain(kind).description(Some(field.about)));
    match field.kind {
        Kind::Text => one(Type::String),
        Kind::Number => one(Type::Integer),
        Kind::Truth => one(Type::Boolean),
        Kind::Object => one(Type::Object),
        Kind::Anything => Schema::from(
            ObjectBuilder::new()
                .schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
                .description(Some(field.about)),
        ),
        Kind::Texts => list(plain(Type::String)),
        Kind::Objects => list(plain(Type::Object)),
        Kind::Values => {
            list(ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue))
        }
    }
}
