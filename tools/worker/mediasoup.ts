// mediasoup as packages/media has it: set-up depends on nothing of its own.
export * from "../../packages/media/node_modules/mediasoup/node/lib/index.js"
