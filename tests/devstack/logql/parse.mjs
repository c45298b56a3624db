// Reads a JSON list of queries from standard input; prints for each whether it is LogQL.
import { readFileSync } from "node:fs";
import { parser } from "@grafana/lezer-logql";

const isLogQl = (query) => {
  let isWhole = true;
  parser.parse(query).iterate({ enter: (node) => { isWhole &&= !node.type.isError; } });
  return isWhole;
};
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(isLogQl)));
