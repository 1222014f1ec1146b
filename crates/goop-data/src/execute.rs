//! One request in, one answer out: what the data protocol, the pages and the scripts call.

use serde_json::{Value as Json, json};

use crate::DataError;
use crate::answer::Answer;
use crate::caller::{Caller, Data};
use crate::request::{Op, Request};
use crate::tables::{ColumnDef, owner_only};

impl Data {
    /// Runs a request with the rights and limits of its caller.
    ///
    /// # Errors
    /// Why it was not done, in the words callers know from the Go program.
    pub async fn execute(&self, caller: &Caller, request: &Request) -> Result<Answer, DataError> {
        let Some(op) = Op::of(&request.op) else {
            let word: String = request.op.chars().take(64).collect();
            return Err(DataError::BadRequest(format!("unknown op: {word}")));
        };
        match op {
            Op::Tables => Ok(self.tables(caller).into()),
            Op::OrmSchema => Ok(self.schemas(caller).into()),
            Op::Describe => Ok(self.describe(caller, request.table_or_name())?.into()),
            Op::Role => Ok(self.role(caller, &request.table)?.into()),
            Op::LuaList => Ok(json!({"functions": self.scripts.list()}).into()),
            Op::LuaCall => self.call_script(caller, request).await,
            Op::CreateTable
            | Op::AddColumn
            | Op::DropColumn
            | Op::RenameTable
            | Op::DeleteTable => {
                owner_only(caller)?;
                self.change_tables(caller, op, request)
                    .await
                    .map(Answer::from)
            }
            Op::Insert
            | Op::Update
            | Op::Delete
            | Op::UpdateWhere
            | Op::DeleteWhere
            | Op::Upsert => self
                .change_rows(caller, op, request)
                .await
                .map(Answer::from),
            Op::Query
            | Op::QueryOne
            | Op::Exists
            | Op::Count
            | Op::Pluck
            | Op::Distinct
            | Op::Aggregate => self.read_rows(caller, op, request).await,
        }
    }

    async fn call_script(&self, caller: &Caller, request: &Request) -> Result<Answer, DataError> {
        need(&request.function, "function name required")?;
        let params = Json::Object(request.params.clone());
        self.scripts
            .call(caller, &request.function, params)
            .await
            .map(Answer::from)
    }

    async fn read_rows(
        &self,
        caller: &Caller,
        op: Op,
        request: &Request,
    ) -> Result<Answer, DataError> {
        need(&request.table, "table name required")?;
        let find = request.find();
        match op {
            Op::QueryOne => self.find_one(caller, &find).await.map(Answer::from),
            Op::Exists => self.exists(caller, &find).await.map(Answer::from),
            Op::Count => self.count(caller, &find).await.map(Answer::from),
            Op::Pluck => {
                need(request.one_column(), "table and column required")?;
                self.pluck(caller, &find, request.one_column()).await
            }
            Op::Distinct => {
                need(request.one_column(), "column required")?;
                self.distinct(caller, &find, request.one_column()).await
            }
            Op::Aggregate => {
                need(&request.expr, "table and expr required")?;
                self.aggregate(caller, &find, &request.expr, &request.group_by)
                    .await
            }
            _ => self.query(caller, &find).await,
        }
    }

    async fn change_rows(
        &self,
        caller: &Caller,
        op: Op,
        request: &Request,
    ) -> Result<Json, DataError> {
        need(&request.table, "table name required")?;
        let table = &request.table;
        match op {
            Op::Insert => {
                let id = self.insert(caller, table, request.data.clone()).await?;
                Ok(json!({"id": id, "status": "inserted"}))
            }
            Op::Update => {
                self.update(caller, table, request.id, &request.data)
                    .await?;
                Ok(json!({"status": "updated"}))
            }
            Op::Delete => {
                self.delete(caller, table, request.id).await?;
                Ok(json!({"status": "deleted"}))
            }
            Op::UpdateWhere => {
                need(&request.filter, "table and where clause required")?;
                self.update_where(caller, &request.find(), &request.data)
                    .await
            }
            Op::DeleteWhere => {
                need(&request.filter, "table and where clause required")?;
                self.delete_where(caller, &request.find()).await
            }
            _ => {
                need(&request.key_col, "table and key_col required")?;
                let id = self
                    .upsert(caller, table, &request.key_col, request.data.clone())
                    .await?;
                Ok(json!({"id": id, "status": "ok"}))
            }
        }
    }

    async fn change_tables(
        &self,
        caller: &Caller,
        op: Op,
        request: &Request,
    ) -> Result<Json, DataError> {
        match op {
            Op::CreateTable => {
                let name = request.name_or_table();
                let single = request.definition().cloned();
                let columns: Vec<ColumnDef> =
                    request.column_defs.iter().cloned().chain(single).collect();
                self.create_classic(caller, name, &columns).await?;
                Ok(json!({"status": "created", "table": name}))
            }
            Op::AddColumn => {
                need(&request.table, "table name required")?;
                let column = request
                    .definition()
                    .ok_or(DataError::Required("column definition required"))?;
                need(&column.name, "column name required")?;
                self.add_column(caller, &request.table, column).await?;
                Ok(json!({"status": "added"}))
            }
            Op::DropColumn => {
                need(&request.table, "table name required")?;
                need(request.column_name(), "column name required")?;
                self.drop_column(caller, &request.table, request.column_name())
                    .await?;
                Ok(json!({"status": "dropped"}))
            }
            Op::RenameTable => {
                self.rename_table(caller, &request.old_name, &request.new_name)
                    .await?;
                Ok(json!({"new_name": request.new_name, "status": "renamed"}))
            }
            _ => {
                let name = request.table_or_name();
                self.delete_table(caller, name).await?;
                Ok(json!({"status": "deleted", "table": name}))
            }
        }
    }
}

pub(crate) fn need(text: &str, otherwise: &'static str) -> Result<(), DataError> {
    if text.is_empty() {
        Err(DataError::Required(otherwise))
    } else {
        Ok(())
    }
}
