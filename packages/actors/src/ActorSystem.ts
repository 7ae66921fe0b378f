/**
 * A process's runtime: owns its incarnation and its actors by name.
 *
 * Guarantees: a kind and id lives at most once in a process; closing the scope ends every actor. Leaves who owns a name in the
 * cluster to `Directory`, liveness to `Lease`, and frames from outside to `internal/inbound`.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { Definition, Spawned, SpawnOptions } from "./Actor.ts"
import { AlreadySpawned, MalformedMessage, NodeDraining, type SpawnError } from "./ActorError.ts"
import type { ActorRef, AskOptions } from "./ActorRef.ts"
import type { Address, Epoch, Id, Incarnation, Subjects } from "./Address.ts"
import { isId, makeIncarnation, subjects } from "./Address.ts"
import { DeadLetters } from "./DeadLetters.ts"
import type { DrainOutcome, DrainRequest } from "./Drain.ts"
import { ActorMetrics } from "./internal/actorMetrics.ts"
import { Cell } from "./internal/cell.ts"
import { type CellHost, nameOf } from "./internal/cellHost.ts"
import { type IsDead, isKnownDead } from "./internal/deathOracle.ts"
import { Endings } from "./internal/endings.ts"
import { serveInbound } from "./internal/inbound.ts"
import type { AnyHandlers } from "./internal/lane.ts"
import { localRef } from "./internal/localRef.ts"
import { drainCell, SelfOfCell } from "./internal/selfOfCell.ts"
import type { Far } from "./internal/remoteRef.ts"
import { askFar, remoteRef } from "./internal/remoteRef.ts"
import type { AnyMessage, Payload, Protocol, Tag } from "./internal/rpcSeam.ts"
import type { StateListener } from "./internal/stateListeners.ts"
import { handleSystem, type SystemMessage } from "./internal/systemMessages.ts"
import { terminatedFar } from "./internal/watchFar.ts"
import { defaultCapacity } from "./Mailbox.ts"
import { instruments, observableGauge } from "./Metrics.ts"
import { SystemProtocol } from "./SystemProtocol.ts"
import { Transport } from "./Transport.ts"

export interface ActorSystemOptions {
  /** The cluster's name, an id: processes of another cluster on the same NATS are not seen. */
  readonly cluster: Id
  /** This node's name, an id. */
  readonly nodeId: Id
}

/** Takes the messages of `SystemProtocol`; each names its target inside. */
export type SystemRef = Pick<ActorRef<SystemMessage>, "ask">

export class ActorSystem extends Context.Service<
  ActorSystem,
  {
    readonly cluster: Id
    readonly nodeId: Id
    readonly incarnation: Incarnation
    readonly subjects: Subjects
    readonly deadLetters: DeadLetters

    /** Spawns an actor without a parent; it ends with the system. */
    readonly spawn: <R extends AnyMessage, Args, E, Env>(
      definition: Definition<R, Args, E, Env>,
      id: Id,
      args: Args,
      options?: SpawnOptions
    ) => Effect.Effect<Spawned<R, E>, Exclude<SpawnError, NodeDraining>, Exclude<Env, Scope.Scope>>

    /** The live actor of that name in this process. */
    readonly local: <R extends AnyMessage>(
      protocol: Protocol<R>,
      kind: string,
      id: Id
    ) => ActorRef<R> | undefined

    /** A reference by address; local when it is this process's. `epoch` rides along and is checked by the owner. */
    readonly ref: <R extends AnyMessage>(
      protocol: Protocol<R>,
      address: Address,
      epoch?: Epoch
    ) => ActorRef<R>

    /** Where system messages to actors of a process go: this one's or another's. */
    readonly system: (incarnation: Incarnation) => SystemRef

    /** Begins or joins the drain of an actor of this process, and awaits its end. One that does not live has ended. */
    readonly drain: (kind: string, id: Id, request: DrainRequest) => Effect.Effect<DrainOutcome>

    /** Calls back after each change of a live actor's state, synchronously, until it ends. */
    readonly onStateChange: (kind: string, id: Id, listener: StateListener) => void

    /**
     * How the runtime learns that a process is dead, in place of `Leases` on the same transport: these it asks by itself. Where there are
     * none, and until this is set, nobody is called dead.
     */
    readonly setDeathOracle: (isDead: (incarnation: Incarnation) => Effect.Effect<boolean>) => void
  }
>()("@ebb/actors/ActorSystem") {
  static readonly layer = (options: ActorSystemOptions): Layer.Layer<ActorSystem, never, Transport> =>
    Layer.effect(ActorSystem, makeActorSystem(options))
}

/** Starts a runtime in the scope. Its incarnation is new each time. */
export const makeActorSystem = Effect.fnUntraced(function* (options: ActorSystemOptions) {
  const transport = yield* Transport
  const scope = yield* Effect.scope
  const context = yield* Effect.context<never>()
  const incarnation = makeIncarnation()
  const names = subjects(options.cluster)
  const deadLetters = new DeadLetters()
  const cells = new Map<string, Cell>()
  const metrics = new ActorMetrics(context, cells, (reason) => deadLetters.counts[reason] ?? 0)
  yield* Effect.addFinalizer(() => Effect.sync(() => metrics.remove()))
  yield* observableGauge(instruments.connected, {}, () =>
    Effect.runSyncWith(context)(transport.connectedSince) === undefined ? 0 : 1
  )
  const host: CellHost = { context, deadLetters, metrics, cells, endings: new Endings() }
  let isDead: IsDead = (of) => isKnownDead(transport, of)
  let asked = 0
  const far: Far = {
    transport,
    from: incarnation,
    nextId: () => ++asked,
    isDead: (of) => Effect.suspend(() => isDead(of))
  }

  // One turn from the check of admission to the registration: no drain can come between.
  const spawnIn = <R extends AnyMessage, Args, E, Env>(
    parent: Cell | undefined,
    definition: Definition<R, Args, E, Env>,
    id: Id,
    args: Args,
    {
      capacity = defaultCapacity,
      holds = "serving",
      prefer = false,
      stopGraceMs = 5000,
      finalizerMs = 30_000,
      onCrash = "stop",
      deadlines = {}
    }: SpawnOptions = {}
  ): Effect.Effect<Spawned<R, E>, SpawnError, Exclude<Env, Scope.Scope>> =>
    Effect.contextWith(
      (services: Context.Context<Exclude<Env, Scope.Scope>>): Effect.Effect<Spawned<R, E>, SpawnError> => {
        const { kind } = definition
        // Nobody far away could name it: neither in a subject nor in a message.
        const noId = [kind, id].find((name) => !isId(name))
        if (noId !== undefined) {
          const shown = JSON.stringify(String(noId).slice(0, 64))
          return Effect.fail(
            new MalformedMessage({ problem: `${shown} is no id: 1 to 64 letters, digits, _ or -` })
          )
        }
        if (parent !== undefined && (!parent.takesChildren || !parent.drain.admits(holds, prefer))) {
          metrics.refused("NodeDraining")
          return Effect.fail(new NodeDraining({ nodeId: options.nodeId }))
        }
        if (host.cells.has(nameOf(kind, id))) return Effect.fail(new AlreadySpawned({ kind, id }))
        metrics.saw(kind)
        const cell = new Cell(host, {
          address: { kind, id, incarnation },
          protocol: definition.protocol as unknown as Protocol<AnyMessage>,
          parent,
          parentScope: parent?.scope ?? scope,
          holds,
          capacity,
          stopGraceMs,
          finalizerMs,
          onCrash,
          deadlines
        })
        // The cell knows handlers by name only; their payloads are checked by the contract's codec, or by the caller's types.
        type Start = Effect.Effect<AnyHandlers, E, Env>
        const self = new SelfOfCell(cell, spawnIn)
        cell.start(() => definition.behaviour(self, args) as unknown as Start, services)
        const spawned: Spawned<R, E> = {
          ref: metrics.measured(definition.protocol, localRef(cell, definition.protocol)),
          started: Deferred.await(cell.started) as Spawned<R, E>["started"],
          isOver: () => cell.isOver,
          outcome: Effect.map(
            Deferred.await(cell.ended),
            ({ by }) => cell.drain.outcome ?? { _tag: "Ended", by }
          )
        }
        return Effect.succeed(spawned)
      }
    )

  yield* Effect.addFinalizer(() =>
    Effect.forEach(
      [...host.cells.values()].filter((cell) => cell.parent === undefined).reverse(),
      (cell) => {
        cell.end("parent", "the process ends")
        return Deferred.await(cell.ended)
      },
      { discard: true }
    )
  )
  yield* serveInbound(host, { subjects: names, nodeId: options.nodeId, incarnation })

  const system = (to: Incarnation): SystemRef => {
    const ask = (
      tag: Tag<SystemMessage>,
      input: Payload<SystemMessage, typeof tag>,
      askOptions?: AskOptions
    ) =>
      to === incarnation
        ? handleSystem(host, options.nodeId, tag, input)
        : askFar(
            far,
            SystemProtocol as unknown as Protocol<AnyMessage>,
            { subject: names.system(to), name: `the process ${to}` },
            tag,
            input,
            askOptions
          )
    return { ask: ask as unknown as SystemRef["ask"] }
  }

  return ActorSystem.of({
    cluster: options.cluster,
    nodeId: options.nodeId,
    incarnation,
    subjects: names,
    deadLetters: host.deadLetters,
    spawn: (definition, id, args, spawnOptions) =>
      Effect.catchTag(spawnIn(undefined, definition, id, args, spawnOptions), "NodeDraining", Effect.die),
    local: (protocol, kind, id) => {
      const cell = host.cells.get(nameOf(kind, id))
      return cell && metrics.measured(protocol, localRef(cell, protocol))
    },
    ref: (protocol, address, epoch) => {
      const cell = address.incarnation === incarnation && host.cells.get(nameOf(address.kind, address.id))
      const ref = cell
        ? localRef(cell, protocol, epoch)
        : remoteRef(
            far,
            protocol,
            address,
            names.actor(address),
            terminatedFar(far, system, address, epoch),
            epoch
          )
      return metrics.measured(protocol, ref)
    },
    system,
    drain: (kind, id, request) =>
      Effect.suspend(() => {
        const cell = host.cells.get(nameOf(kind, id))
        return cell ? drainCell(cell, request) : Effect.succeed<DrainOutcome>({ _tag: "Ended", by: "itself" })
      }),
    onStateChange: (kind, id, listener) => host.cells.get(nameOf(kind, id))?.listen("other", listener),
    setDeathOracle: (oracle) => {
      isDead = oracle
    }
  })
})
