/** The actor runtime: everything public, named one by one. */
export type { Definition, Self, Spawned, SpawnOptions } from "./Actor.ts"
export { define } from "./Actor.ts"
export {
  ActorCrashed,
  AlreadySpawned,
  AskError,
  AskTimeout,
  KeyConflict,
  MailboxFull,
  MalformedMessage,
  NodeDraining,
  NodeIsolated,
  NodeUnreachable,
  NoSuchActor,
  RegistryUnavailable,
  StaleEpoch,
  UndrainRefused,
  UnsupportedMessage
} from "./ActorError.ts"
export type { SpawnError, TellError } from "./ActorError.ts"
export type { ActorRef, AskOptions } from "./ActorRef.ts"
export type { ActorSystemOptions, SystemRef } from "./ActorSystem.ts"
export { ActorSystem, makeActorSystem } from "./ActorSystem.ts"
export type { Address, Incarnation, Subjects } from "./Address.ts"
export { Epoch, Id, makeIncarnation, subjects } from "./Address.ts"
export type { DeadLetter, DeadLetters, DropReason } from "./DeadLetters.ts"
export type { ChildInfo, DrainOutcome, DrainProgress, DrainRequest, Holds } from "./Drain.ts"
export { DrainDeadlines } from "./Drain.ts"
export { literalOrUnknown } from "./internal/record.ts"
export { maxFrameBytes, pack, unpack } from "./Envelope.ts"
export type { MessageCodec, Protocol } from "./internal/rpcSeam.ts"
export { codecOf } from "./internal/rpcSeam.ts"
export type { EndedBy, OnCrash, Terminated } from "./Supervision.ts"
export type {
  AnyMessage,
  AskTag,
  Failure,
  Handlers,
  Input,
  Item,
  Payload,
  StreamFailure,
  StreamTag,
  Success,
  Tag
} from "./internal/rpcSeam.ts"
export type { Instrument, Labels } from "./Metrics.ts"
export {
  AsksMeasured,
  counterOf,
  histogramOf,
  instruments,
  observableCounter,
  observableGauge
} from "./Metrics.ts"
export type { Admission, Cause, Control, Life, NodeState, StateChange } from "./NodeState.ts"
export { initialState, isOver, transition } from "./NodeState.ts"
export { Concurrency, Idempotent, type IdempotentOptions, Interruptible, Traced } from "./MessageOptions.ts"
export type { Messages } from "./Protocol.ts"
export { concurrently, message, protocol } from "./Protocol.ts"
export type { Bucket, BucketOptions, Change, Entry } from "./Registry.ts"
export { Registry } from "./Registry.ts"
export { SystemProtocol } from "./SystemProtocol.ts"
export type { Frame } from "./Transport.ts"
export { Transport, TransportError } from "./Transport.ts"
export { layer as layerNats } from "./nats/Nats.ts"
export { NatsConnection, type NatsOptions } from "./nats/NatsConnection.ts"
export { announceService } from "./nats/microService.ts"
export type { EndpointTally, MicroService, ServiceEndpoint } from "./nats/microService.ts"
export type { NatsSecurity, NatsTls } from "./nats/natsSecurity.ts"
export type { NatsRegistryOptions } from "./nats/NatsRegistry.ts"
export { AlreadyOwned, NatsRefused, NatsUnavailable, NodeIdHeld, Superseded } from "./ActorError.ts"
export type { Located, Name, Verified } from "./Directory.ts"
export { Directory } from "./Directory.ts"
export type { HeldLease, HoldOptions } from "./Lease.ts"
export { hold as holdLease } from "./Lease.ts"
export { Leases } from "./Leases.ts"
export { ownName } from "./Ownership.ts"
export { NodeLease, NodeLeaseBody } from "./NodeLease.ts"
export { EventLog, type LoggedEvent } from "./EventLog.ts"
export { layer as layerNatsEventLog, type NatsEventLogOptions } from "./nats/NatsEventLog.ts"
