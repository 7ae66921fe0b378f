/** The runtime's outside services in memory, for tests: seeded, under the test's clock, with faults. */
export * as TestBus from "./TestBus.ts"
export * as TestRegistry from "./TestRegistry.ts"
export * as TestEventLog from "./TestEventLog.ts"
export { seededRandom } from "./seededRandom.ts"
