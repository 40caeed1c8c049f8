//! Plans that are saved to a file and carried out later.

use freehold_core::{
    model::Digest,
    plan::{Consent, SavedPlan, SavedPlanError},
};

use super::{Ask, Bed, Ran};

impl Bed {
    /// Plans and returns the text of the file.
    pub(crate) async fn save_plan(&self, ask: impl Into<Ask>) -> String {
        let prepared = self.prepare(self.snapshot(), ask).await.unwrap();
        let plan = prepared.plan(&self.plugins()).await;
        prepared.with_world(|world| SavedPlan::new(plan, world, self.config())).text()
    }

    /// Carries out the plan of a file, as the command does.
    pub(crate) async fn apply_file(
        &self,
        text: &str,
        consent: &Consent,
    ) -> Result<Ran, SavedPlanError> {
        let mut session = self.store().lock("test").unwrap();
        let saved = SavedPlan::read(text)?;
        let state = (session.snapshot.lineage, session.snapshot.serial);
        saved.fits(self.fleet().id, state, &self.config())?;
        let ask = Ask { goal: saved.goal.clone(), scope: saved.scope.clone() };
        let mut prepared = self.prepare(session.snapshot.clone(), ask).await.unwrap();
        saved.agrees_with(&prepared.decisions)?;
        prepared.stamp.clone_from(&saved.stamp);
        let plan = saved.still_true(&prepared.reached.observed)?;
        Ok(self.carry_out((&prepared, plan), consent, &mut session, || {}).await)
    }

    fn config(&self) -> Digest {
        self.identity().keyed(&self.fleet().digest)
    }
}
