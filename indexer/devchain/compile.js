// Compiles contracts/*.sol and writes what the Python side reads:
//   artifacts/<Name>.json   {contractName, abi, bytecode, compiler} of Aurum's own contracts
//   ../abi/<Name>.json      plain ABI arrays of everything the indexer listens to, Gnosis' own untouched
//
//   node compile.js [artifacts-folder abi-folder]
//
// Output is byte for byte reproducible; tests/chain/test_artifacts.py compares it with what is committed.
"use strict";

const fs = require("fs");
const path = require("path");
const solc = require("solc");

const SOURCES = path.join(__dirname, "contracts");
const [ARTIFACTS = path.join(__dirname, "artifacts"), ABIS = path.join(__dirname, "..", "abi")] =
  process.argv.slice(2);

const OWN_ABIS = ["MarketFactory", "AurumOracle", "FeeCollector"];
const GNOSIS_ABIS = {
  ConditionalTokens: "@gnosis.pm/conditional-tokens-contracts",
  FixedProductMarketMaker: "@gnosis.pm/conditional-tokens-market-makers",
};

// Without the metadata hash the bytecode does not change when a comment does.
const SETTINGS = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
};

function compile() {
  const sources = {};
  for (const name of fs.readdirSync(SOURCES).filter((file) => file.endsWith(".sol")).sort()) {
    sources[name] = { content: fs.readFileSync(path.join(SOURCES, name), "utf8") };
  }
  const findImport = (name) => ({ contents: fs.readFileSync(require.resolve(name), "utf8") });
  const input = { language: "Solidity", sources, settings: SETTINGS };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  const problems = output.errors || [];
  if (problems.length) {
    throw new Error(problems.map((problem) => problem.formattedMessage).join("\n"));
  }
  return Object.keys(sources).map((file) => [file.replace(/\.sol$/, ""), output.contracts[file]]);
}

function write(folder, name, value) {
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(value, null, 2) + "\n");
}

for (const [name, contracts] of compile()) {
  if (!contracts[name]) continue; // a file of interfaces
  const { abi, evm } = contracts[name];
  const bytecode = "0x" + evm.bytecode.object;
  write(ARTIFACTS, name, { contractName: name, abi, bytecode, compiler: solc.version() });
  if (OWN_ABIS.includes(name)) write(ABIS, name, abi);
}
for (const [name, npmPackage] of Object.entries(GNOSIS_ABIS)) {
  write(ABIS, name, require(`${npmPackage}/build/contracts/${name}.json`).abi);
}
