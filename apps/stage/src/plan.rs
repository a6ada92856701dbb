//! What a stage was told to do: command line and module, read and checked before anything runs.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::function::{Setup, Stage};
use crate::module::{Module, ModuleError};
use crate::params::{
    COMMON, Direction, Edge, EdgeKind, MAX_EDGES, NETWORK, ParamError, ParamProblem, Parameter,
    Params, command_line,
};

/// Everything a stage was told, checked against what `S` declares.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The parameters, those of the module under those of the command line.
    pub params: Params<'a>,
    /// The files of the boot module.
    pub module: Module,
    /// The input edges, in the order given.
    pub inputs: Vec<Edge>,
    /// The output edges, in the order given.
    pub outputs: Vec<Edge>,
}

impl<'a> Plan<'a> {
    /// Reads the bytes of the command line (as far as a NUL) and of the boot module (empty where
    /// there is none).
    pub fn new<S: Stage>(command: &'a [u8], module: &'static [u8]) -> Result<Self, SetupError> {
        Self::of_text::<S>(command_line(command)?, module)
    }

    /// The same for a command line of any length.
    pub fn of_text<S: Stage>(command: &'a str, module: &'static [u8]) -> Result<Self, SetupError> {
        let network = if S::NETWORK { NETWORK } else { &[] };
        Self::read(command, module, &[COMMON, network, S::PARAMETERS], S::EDGES)
    }

    fn read(
        command: &'a str,
        module: &'static [u8],
        declared: &[&'static [Parameter]],
        kinds: &[EdgeKind],
    ) -> Result<Self, SetupError> {
        let module = Module::parse(module)?;
        let in_module = match module.params {
            Some(bytes) => {
                core::str::from_utf8(bytes).map_err(|_| ParamError::from(ParamProblem::NotText))?
            }
            None => "",
        };
        let mut all = Vec::new();
        for parameters in declared {
            all.extend(*parameters);
        }
        let params = Params::parse_layers(&[in_module, command], all)?;
        let plan = Self {
            inputs: params.edges(Direction::In)?,
            outputs: params.edges(Direction::Out)?,
            params,
            module,
        };
        plan.check_edges(kinds)?;
        Ok(plan)
    }

    fn check_edges(&self, kinds: &[EdgeKind]) -> Result<(), ParamError> {
        let count = self.inputs.len() + self.outputs.len();
        if count > MAX_EDGES {
            return Err(ParamProblem::TooManyEdges { count }.into());
        }
        let sides = [
            (Direction::In, self.inputs.len()),
            (Direction::Out, self.outputs.len()),
        ];
        for (direction, given) in sides {
            let kind = kinds.iter().find(|kind| kind.direction == direction);
            if !kind.map_or(given == 0, |kind| kind.count.admits(given)) {
                let takes = kind.map_or("none", |kind| kind.count.word());
                return Err(ParamProblem::EdgeCount {
                    direction,
                    given,
                    takes,
                }
                .into());
            }
        }
        Ok(())
    }

    /// The name of the stage: `stage=`, or the name of its app.
    pub fn stage_name<S: Stage>(&self) -> &'a str {
        self.params.text("stage").unwrap_or(S::NAME)
    }

    /// What to log.
    pub fn log_level(&self) -> log::LevelFilter {
        let level = self.params.text("log").and_then(|level| level.parse().ok());
        level.unwrap_or(log::LevelFilter::Info)
    }

    /// The text of `ip=`, for the network to read.
    pub fn ip(&self) -> Option<&'a str> {
        self.params.text("ip")
    }

    /// Makes the function.
    pub fn build<S: Stage>(&self) -> Result<S, SetupError> {
        S::new(&Setup {
            params: &self.params,
            module: &self.module,
            inputs: &self.inputs,
            outputs: &self.outputs,
        })
    }
}

/// Why a stage cannot start; the message is one line that says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A parameter.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// The boot module.
    #[error(transparent)]
    Module(Box<ModuleError>),
    /// The function's own reason.
    #[error("{0}")]
    Function(String),
}

impl From<ModuleError> for SetupError {
    fn from(error: ModuleError) -> Self {
        Self::Module(Box::new(error))
    }
}
