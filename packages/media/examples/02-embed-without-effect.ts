/**
 * A media node inside a program that knows nothing of Effect. The same as 01, in promises.
 *
 *     nats-server -js -a 127.0.0.1 -sd /tmp/ebb-nats &
 *     node_modules/.bin/node packages/media/examples/02-embed-without-effect.ts
 */
import { startNode } from "@ebb/media"

const node = await startNode({
  cluster: "example",
  nodeId: "without-effect",
  nats: { servers: process.env["EBB_NATS"] ?? "127.0.0.1:4222" },
  dataDir: process.env["EBB_DATA_DIR"] ?? "ebb-data",
  log: (level, line) => console.log(level, line)
})
node.drainOnSignals()
const { rooms } = await node.report()
console.log(`${node.nodeId} serves ${rooms.length} rooms`)

const { code, unfinished } = await node.ended
for (const { problem, recordingId } of unfinished) console.error(`${recordingId}: ${problem}`)
process.exitCode = code
