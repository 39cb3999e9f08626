// A client of tests/apps/abroad.py that has the emitted .proto files and @grpc/grpc-js, nothing else.
// Prints one JSON object: what each call came to, by name. test_node.py says what is right.

import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [address, protos, packages] = process.argv.slice(2);
// The packages are in a cache folder, not beside this file.
const require = createRequire(join(packages, "index.js"));
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");

const files = readdirSync(protos, { recursive: true }).filter((name) => name.endsWith(".proto"));
const definition = loader.loadSync(files, {
  includeDirs: [protos],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { abroad } = grpc.loadPackageDefinition(definition);
const client = new abroad.shop.v1.ShopService(address, grpc.credentials.createInsecure());
const soon = () => ({ deadline: Date.now() + 10_000 });

// What a failed call's `grpc-status-details-bin` says, by the types that google.rpc documents.
const { root } = protobuf.parse(
  `syntax = "proto3"; package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message FieldViolation { string field = 1; string description = 2; }
  message BadRequest { repeated FieldViolation field_violations = 1; }
  message RequestInfo { string request_id = 1; }
  message ErrorInfo { string reason = 1; string domain = 2; }`,
  { keepCase: true },
);

function detailsOf(error) {
  const [packed] = error.metadata.get("grpc-status-details-bin");
  if (packed === undefined) return {};
  const read = (name, bytes) => {
    const type = root.lookupType(`google.rpc.${name}`);
    return type.toObject(type.decode(bytes), { defaults: true });
  };
  const named = (each) => each.type_url.split(".").at(-1);
  const { details } = read("Status", packed);
  return Object.fromEntries(details.map((each) => [named(each), read(named(each), each.value)]));
}

const failure = (error) => ({
  code: grpc.status[error.code],
  message: error.details,
  details: detailsOf(error),
});

function unary(method, request, options = soon(), metadata = new grpc.Metadata()) {
  return new Promise((resolve) =>
    client[method](request, metadata, options, (error, answer) =>
      resolve(error ? failure(error) : answer.result),
    ),
  );
}

async function stream(method, request, options = soon()) {
  const items = [];
  try {
    for await (const { result } of client[method](request, options)) items.push(result);
  } catch (error) {
    return { items, ...failure(error) };
  }
  return { items };
}

async function cancelled() {
  const call = client.hold({}, soon());
  const first = await new Promise((resolve, reject) => call.once("data", resolve).once("error", reject));
  const ended = new Promise((resolve) => call.once("error", resolve));
  call.cancel();
  const { code } = await ended;
  const end = Date.now() + 10_000;
  let held = await unary("held", {});
  while (held.item_2 === "0" && Date.now() < end) held = await unary("held", {});
  return { first: first.result, code: grpc.status[code], held };
}

function withHeaders() {
  const metadata = new grpc.Metadata();
  metadata.set("x-request-id", "from-node");
  metadata.set("session_id", "s7");
  metadata.set("multiplexed_model_id", "m2");
  return unary("whoami", {}, soon(), metadata);
}

// As a client of another version of the contract calls what is not there any more.
function unknownMethod() {
  const raw = (bytes) => bytes;
  const path = "/abroad.shop.v1.ShopService/Gone";
  return new Promise((resolve) =>
    client.makeUnaryRequest(path, raw, raw, Buffer.alloc(0), (error) => resolve(failure(error))),
  );
}

const image = { dtype: "int16", shape: [2], data: Buffer.from([1, 0, 2, 1]) };
// In this order, so that `cancelled` is the first to hold a stream.
const calls = {
  cancelled,
  total: () => unary("total", { items: [{ name: "tea", price: 2.5 }, { name: "cup" }], rate: 2 }),
  defaults: () => unary("total", { items: [{ name: "tea", price: 2.5 }] }),
  paint: () => unary("paint", { item: { name: "tea", tags: ["new"] }, color: "COLOR_BLUE" }),
  names: () => unary("byName", { items: { b: { name: "b" }, a: { name: "a" } } }),
  numbers: () => unary("numbers", { big: "9007199254740993", data: Buffer.from("abc"), price: "0.10" }),
  later: () => unary("later", { at: { seconds: 86400, nanos: 5000 }, by: { seconds: 1 } }),
  eitherNumber: () => unary("either", { value: { intValue: 7 } }),
  image: () => unary("double", { image }),
  id: () => unary("find", { id: "12345678-1234-5678-1234-567812345678" }),
  count: () => stream("count", { to: 3 }),
  items: () => stream("items", { names: ["tea", "cup"] }),
  none: () => stream("count", { to: 0 }),
  invalid: () => unary("find", { id: "no id" }),
  missing: () => unary("paint", { item: { name: "tea" } }),
  soldOut: () => unary("sell", { name: "tea" }),
  soldOutLater: () => stream("sellSome", { names: ["cup", "tea"] }),
  failed: () => unary("fail", {}),
  late: () => unary("wait", {}, { deadline: Date.now() + 200 }),
  lateStream: () => stream("hold", {}, { deadline: Date.now() + 500 }),
  unknown: unknownMethod,
  headers: withHeaders,
};
const told = {};
for (const [name, call] of Object.entries(calls)) told[name] = await call();
client.close();
console.log(JSON.stringify(told));
