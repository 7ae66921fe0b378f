export {
  ClusterClaimed,
  ClusterDown,
  ClusterMismatch,
  ClusterNotFound,
  ForceUnconfirmed,
  InstanceConflict,
  InstanceNotRunning,
  InstanceNotStarted,
  InvalidName,
  NatsServerFailed,
  NatsServerMissing,
  NothingToReplace,
  PlatformUnsupported,
  ReleasesUnreadable,
  RolloutLogUnreadable,
  RolloutOpen,
  RolloutRunning,
  RolloutTakenOver,
  SignalRefused,
  StateUnreadable,
  UnknownInstance,
  UnknownVersion,
  VersionUnspecified
} from "./DeployError.ts"
export {
  type Instance,
  type InstanceEnd,
  InstanceState,
  Orchestrator,
  type Signalled,
  SignalOutcome,
  type StartRequest
} from "./Orchestrator.ts"
export { layerLocal, type LocalOptions } from "./orchestrators/local.ts"
export { natsEndpoint, type NatsServer, startNats } from "./cluster/embeddedNats.ts"
export { type NatsEndpoint, type NatsRole } from "./cluster/natsEndpoint.ts"
export { findRelease, readReleases, type Release, type Releases } from "./cluster/releases.ts"
export {
  claimCluster,
  type ClaimedCluster,
  type Cluster,
  defaultCluster,
  openCluster,
  stateFolder
} from "./cluster/state.ts"
export { nodeLaunch } from "./cluster/nodeLaunch.ts"
export {
  deployer,
  type DeployerArgs,
  deployerKind,
  type DeployerLost,
  DeployerProtocol,
  type Recovered,
  RolloutEnd,
  RolloutProgress,
  type RolloutRequest
} from "./Deployer.ts"
export { isOpen, type Plan, type Rollout, type RolloutStage } from "./Rollout.ts"
export {
  type Cluster as SeenCluster,
  decide,
  defaultLimits,
  type RolloutLimits,
  Step
} from "./RolloutDecision.ts"
export {
  ForceMode,
  type OldInstance,
  RolloutEvent,
  RolloutFailure,
  type RolloutRecord
} from "./RolloutEvent.ts"
export { readRollout } from "./RolloutLog.ts"
