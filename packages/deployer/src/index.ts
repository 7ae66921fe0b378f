export {
  ClusterClaimed,
  ClusterMismatch,
  ClusterNotFound,
  InstanceConflict,
  InstanceNotRunning,
  InstanceNotStarted,
  InvalidName,
  NatsServerFailed,
  NatsServerMissing,
  PlatformUnsupported,
  ReleasesUnreadable,
  SignalRefused,
  StateUnreadable,
  UnknownInstance,
  UnknownVersion
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
