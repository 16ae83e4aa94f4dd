//! Factors together: the score of a cell and its contributions, which sum to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::context::SessionContext;
use shiyu_schemas::city::model::{Factor, RiskModel, Transform};
use shiyu_schemas::place::cell::Cell;
use shiyu_schemas::table::CELL_CHANGES;
use shiyu_schemas::v1;

use super::checkpoint::{FrozenState, PriorState};
use super::factor::{CellCondition, CellExpression};
use super::live::{LiveCells, parent_of};
use super::transform::{self, FactorInput, RatePrior};

const DAY_US: i64 = 86_400_000_000;

#[derive(Debug)]
struct CompiledFactor {
    factor: Factor,
    filter: Option<CellCondition>,
    value: CellExpression,
    whole: Option<CellExpression>,
}

/// A risk model whose SQL is compiled.
#[derive(Debug)]
pub struct CompiledModel {
    model: RiskModel,
    definition: u64,
    rows: CellCondition,
    factors: Vec<CompiledFactor>,
    count: CellExpression,
    weight_sum: f64,
}

/// What a window freezes: the priors of the model's rates, by factor.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    priors: Vec<Option<RatePrior>>,
    /// Cases in all cells when it was frozen.
    pub total: i64,
    /// End of the window it holds for, microseconds since 1970 UTC.
    pub window_end_us: i64,
}

impl Frozen {
    pub(super) fn to_state(&self, model: &CompiledModel) -> FrozenState {
        FrozenState {
            model: model.name().to_owned(),
            definition: model.definition,
            priors: self
                .priors
                .iter()
                .map(|prior| PriorState {
                    exposure: prior.map(|prior| prior.exposure),
                    count: prior.map(|prior| prior.count),
                    full: prior.map(|prior| prior.full),
                })
                .collect(),
            total: self.total,
            window_end_us: self.window_end_us,
        }
    }

    pub(super) fn from_state(state: &FrozenState) -> Self {
        let prior = |state: &PriorState| {
            Some(RatePrior {
                exposure: state.exposure?,
                count: state.count?,
                full: state.full?,
            })
        };
        Self {
            priors: state.priors.iter().map(prior).collect(),
            total: state.total,
            window_end_us: state.window_end_us,
        }
    }
}

impl CompiledModel {
    /// Compiles the model; errors name the factor.
    pub fn compile(model: &RiskModel) -> Result<Arc<Self>> {
        let context = SessionContext::new();
        shiyu_function::register_all(&context);
        let schema = DFSchema::try_from(CELL_CHANGES.schema().as_ref().clone())?;
        let factors = model
            .factors
            .iter()
            .map(|factor| {
                compile_factor(factor, &context, &schema)
                    .map_err(|error| error.context(format!("factor \"{}\"", factor.factor)))
            })
            .collect::<Result<Vec<_>>>()?;
        let definition = serde_json::to_vec(model).map_or(0, |bytes| xxhash_rust::xxh3::xxh3_64(&bytes));
        Ok(Arc::new(Self {
            rows: CellCondition::compile(&model.rows, &context, &schema)?,
            count: CellExpression::compile("sum(count)", &context, &schema)?,
            weight_sum: model.factors.iter().map(|factor| factor.weight).sum(),
            model: model.clone(),
            definition,
            factors,
        }))
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.model.model
    }

    /// The model as the city folder has it.
    pub fn model(&self) -> &RiskModel {
        &self.model
    }

    /// Hash of the definition.
    pub fn definition(&self) -> u64 {
        self.definition
    }

    /// Length of everything the model looks at, back from the window's end, microseconds.
    pub fn reach_us(&self) -> i64 {
        self.factors
            .iter()
            .map(|factor| factor.reach_days() * DAY_US)
            .max()
            .unwrap_or(DAY_US)
    }

    /// Length of the longest factor window, microseconds.
    pub fn window_us(&self) -> i64 {
        self.model
            .factors
            .iter()
            .map(|factor| i64::from(factor.window_days) * DAY_US)
            .max()
            .unwrap_or(DAY_US)
    }

    /// Freezes what the window ending at `window_end_us` needs of the whole city.
    pub fn freeze(&self, live: &LiveCells, window_end_us: i64) -> Result<Frozen> {
        let batch = self.batch(live, live.cells(), window_end_us);
        let keep = self.rows.evaluate(&batch)?;
        let priors = self
            .factors
            .iter()
            .map(|factor| match &factor.factor.transform {
                Transform::Rate {
                    exposure,
                    full_percentile,
                } => {
                    let values = factor.values(&factor.value, &batch, &keep, window_end_us, 0)?;
                    let inputs = transform::rate_inputs(&values, |cell| exposure_of(exposure, cell));
                    Ok(Some(RatePrior::fit(&inputs, *full_percentile)))
                }
                _ => Ok(None),
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Frozen {
            priors,
            total: live.total(),
            window_end_us,
        })
    }

    /// Scores of the given cells (resolution 9; scored are their parents at the model's resolution), in order of cell.
    /// A cell without rows scores 0.
    pub fn score(&self, live: &LiveCells, cells: &BTreeSet<i64>, frozen: &Frozen) -> Result<Vec<v1::Score>> {
        let targets: BTreeSet<i64> = cells
            .iter()
            .map(|&cell| parent_of(cell, self.model.resolution))
            .collect();
        let members: Vec<i64> = if self.model.resolution >= 9 {
            targets.iter().copied().collect()
        } else {
            live.cells()
                .filter(|&cell| targets.contains(&parent_of(cell, self.model.resolution)))
                .collect()
        };
        let batch = self.batch(live, members.into_iter(), frozen.window_end_us);
        let keep = self.rows.evaluate(&batch)?;
        let factors = self
            .factors
            .iter()
            .map(|factor| factor.inputs(&batch, &keep, frozen.window_end_us))
            .collect::<Result<Vec<_>>>()?;
        let end_us = frozen.window_end_us;
        let counts = self.count.evaluate(&batch, &keep, end_us - self.window_us(), end_us)?;
        Ok(targets
            .into_iter()
            .map(|cell| {
                let inputs: Vec<FactorInput> = factors
                    .iter()
                    .map(|inputs| inputs.get(&cell).copied().unwrap_or_default())
                    .collect();
                self.score_of(cell, &inputs, counts.get(&cell).copied().unwrap_or_default(), frozen)
            })
            .collect())
    }

    fn score_of(&self, cell: i64, inputs: &[FactorInput], count: f64, frozen: &Frozen) -> v1::Score {
        let contributions: Vec<v1::Contribution> = self
            .factors
            .iter()
            .zip(inputs)
            .enumerate()
            .map(|(index, (factor, input))| {
                let input = FactorInput {
                    exposure: factor.exposure(cell),
                    ..*input
                };
                let prior = frozen.priors.get(index).and_then(Option::as_ref);
                let (value, scaled) = if count > 0.0 {
                    transform::apply(&factor.factor.transform, input, prior)
                } else {
                    (0.0, 0.0)
                };
                v1::Contribution {
                    factor: factor.factor.factor.clone(),
                    value,
                    points: factor.factor.weight / self.weight_sum * 100.0 * scaled,
                }
            })
            .collect();
        let score: f64 = contributions.iter().map(|contribution| contribution.points).sum();
        v1::Score {
            model: self.model.model.clone(),
            definition: self.definition,
            cell,
            window_start_us: frozen.window_end_us - self.window_us(),
            window_end_us: frozen.window_end_us,
            score,
            level: self.level(score, count).into(),
            contributions,
            input_offset: 0,
            scored_at_us: 0,
        }
    }

    fn level(&self, score: f64, count: f64) -> v1::Level {
        let [blue, yellow, orange, red] = self.model.levels;
        match score {
            _ if count < f64::from(self.model.min_count) => v1::Level::Green,
            score if score >= red => v1::Level::Red,
            score if score >= orange => v1::Level::Orange,
            score if score >= yellow => v1::Level::Yellow,
            score if score >= blue => v1::Level::Blue,
            _ => v1::Level::Green,
        }
    }

    fn batch(&self, live: &LiveCells, cells: impl Iterator<Item = i64>, window_end_us: i64) -> RecordBatch {
        live.batch(
            cells,
            self.model.resolution,
            window_end_us - self.reach_us(),
            window_end_us,
        )
    }
}

impl CompiledFactor {
    fn reach_days(&self) -> i64 {
        let windows = match self.factor.transform {
            Transform::Trend { baseline_windows, .. } => 1 + i64::from(baseline_windows),
            _ => 1,
        };
        i64::from(self.factor.window_days) * windows
    }

    fn exposure(&self, cell: i64) -> f64 {
        match &self.factor.transform {
            Transform::Rate { exposure, .. } => exposure_of(exposure, cell),
            _ => 1.0,
        }
    }

    /// Values of an expression in the window `back` windows before the newest.
    fn values(
        &self,
        expression: &CellExpression,
        batch: &RecordBatch,
        keep: &BooleanArray,
        window_end_us: i64,
        back: i64,
    ) -> Result<BTreeMap<i64, f64>> {
        let length_us = i64::from(self.factor.window_days) * DAY_US;
        let end_us = window_end_us - back * length_us;
        let keep = match &self.filter {
            Some(filter) => arrow::compute::and(keep, &filter.evaluate(batch)?)?,
            None => keep.clone(),
        };
        expression.evaluate(batch, &keep, end_us - length_us, end_us)
    }

    fn inputs(
        &self,
        batch: &RecordBatch,
        keep: &BooleanArray,
        window_end_us: i64,
    ) -> Result<BTreeMap<i64, FactorInput>> {
        let mut inputs: BTreeMap<i64, FactorInput> = BTreeMap::new();
        for (cell, value) in self.values(&self.value, batch, keep, window_end_us, 0)? {
            inputs.entry(cell).or_default().value = value;
        }
        match &self.factor.transform {
            Transform::Trend { baseline_windows, .. } => {
                for back in 1..=i64::from(*baseline_windows) {
                    for (cell, value) in self.values(&self.value, batch, keep, window_end_us, back)? {
                        inputs.entry(cell).or_default().reference += value / f64::from(*baseline_windows);
                    }
                }
            }
            Transform::Share { .. } => {
                if let Some(whole) = &self.whole {
                    for (cell, value) in self.values(whole, batch, keep, window_end_us, 0)? {
                        inputs.entry(cell).or_default().reference = value;
                    }
                }
            }
            Transform::Rate { .. } | Transform::Linear { .. } => {}
        }
        Ok(inputs)
    }
}

fn compile_factor(factor: &Factor, context: &SessionContext, schema: &DFSchema) -> Result<CompiledFactor> {
    let whole = match &factor.transform {
        Transform::Share { of, .. } => Some(CellExpression::compile(of, context, schema)?),
        _ => None,
    };
    Ok(CompiledFactor {
        filter: factor
            .filter
            .as_ref()
            .map(|filter| CellCondition::compile(filter, context, schema))
            .transpose()?,
        value: CellExpression::compile(&factor.value, context, schema)?,
        whole,
        factor: factor.clone(),
    })
}

fn exposure_of(exposure: &str, cell: i64) -> f64 {
    match exposure {
        "area_km2" => Cell::from_i64(cell).map_or(1.0, |cell| cell.index().area_km2()),
        _ => 1.0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::live::tests::{CELL, change, epoch};
    use super::*;

    pub(crate) fn model() -> RiskModel {
        let factor = |name: &str, value: &str, transform| Factor {
            factor: name.to_owned(),
            title: name.to_owned(),
            weight: 1.0,
            value: value.to_owned(),
            filter: None,
            window_days: 7,
            transform,
        };
        RiskModel {
            model: "test".to_owned(),
            title: "Test".to_owned(),
            version: 1,
            resolution: 9,
            min_count: 2,
            rows: "origin in ('citizen', 'device')".to_owned(),
            factors: vec![
                factor(
                    "cases",
                    "sum(count)",
                    Transform::Rate {
                        exposure: "cell".to_owned(),
                        full_percentile: 100.0,
                    },
                ),
                factor(
                    "open",
                    "sum(open)",
                    Transform::Share {
                        of: "sum(count)".to_owned(),
                        prior_count: 0.0,
                        full: 1.0,
                    },
                ),
                factor(
                    "severity",
                    "sum(severity) / nullif(sum(count), 0)",
                    Transform::Linear { full: 5.0 },
                ),
            ],
            levels: [20.0, 40.0, 60.0, 80.0],
        }
    }

    fn neighbours() -> Vec<i64> {
        Cell::from_i64(CELL)
            .unwrap()
            .index()
            .grid_disk::<Vec<_>>(1)
            .into_iter()
            .map(|cell| u64::from(cell) as i64)
            .collect()
    }

    fn live() -> LiveCells {
        let mut live = LiveCells::default();
        let changes = neighbours()
            .into_iter()
            .enumerate()
            .map(|(index, cell)| change(cell, 100, index as i64 + 1))
            .collect();
        live.apply(&epoch(1, changes));
        live
    }

    #[test]
    fn contributions_sum_to_the_score() {
        let compiled = CompiledModel::compile(&model()).unwrap();
        let live = live();
        let frozen = compiled.freeze(&live, 101 * 3_600_000_000).unwrap();
        let scores = compiled.score(&live, &live.cells().collect(), &frozen).unwrap();
        assert_eq!(scores.len(), 7);
        for score in &scores {
            let sum: f64 = score.contributions.iter().map(|contribution| contribution.points).sum();
            assert!((sum - score.score).abs() < 1e-12);
            assert!((0.0..=100.0).contains(&score.score));
        }
        assert!(scores.iter().any(|score| score.score > 70.0));
    }

    #[test]
    fn no_data_means_no_score() {
        let compiled = CompiledModel::compile(&model()).unwrap();
        let live = LiveCells::default();
        let frozen = compiled.freeze(&live, 0).unwrap();
        let scores = compiled.score(&live, &BTreeSet::from([CELL]), &frozen).unwrap();
        assert!(scores[0].score.abs() < f64::EPSILON);
        assert_eq!(scores[0].level(), v1::Level::Green);
    }

    #[test]
    fn scoring_some_cells_gives_what_scoring_all_gives() {
        let compiled = CompiledModel::compile(&model()).unwrap();
        let live = live();
        let frozen = compiled.freeze(&live, 101 * 3_600_000_000).unwrap();
        let all = compiled.score(&live, &live.cells().collect(), &frozen).unwrap();
        for score in &all {
            let alone = compiled.score(&live, &BTreeSet::from([score.cell]), &frozen).unwrap();
            assert_eq!(&alone[0], score);
        }
    }

    #[test]
    fn a_factor_that_is_no_aggregate_is_refused_by_name() {
        let mut wrong = model();
        wrong.factors[1].value = "open".to_owned();
        let error = CompiledModel::compile(&wrong).unwrap_err().to_string();
        assert!(error.contains("factor \"open\""), "{error}");
        assert!(error.contains("sum(count)"), "{error}");
    }
}
