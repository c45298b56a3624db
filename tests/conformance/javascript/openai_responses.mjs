// Responses by OpenAI's JavaScript SDK: plays every turn and prints what the client saw.
//
// usage: node openai_responses.mjs BASE_URL MODEL TURN…
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const [baseURL, model, ...turns] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });

const tools = ['open_gate', 'read_level'].map((name) => ({
  type: 'function',
  name,
  parameters: { type: 'object', properties: {} },
  strict: false,
}));
const ask = (turn, form = 'deltas') => ({
  model,
  input: `play ${turn} in ${form}`,
  tools,
  store: false,
});

const describe = ({ output, output_text, status, usage }) => ({
  text: output_text,
  reasoning: output
    .flatMap((item) => (item.type === 'reasoning' ? (item.content ?? []) : []))
    .map(({ text }) => text)
    .join(''),
  calls: output.flatMap((item) =>
    item.type === 'function_call' ? [[item.call_id, item.name, JSON.parse(item.arguments)]] : [],
  ),
  status,
  total_tokens: usage.total_tokens,
});

const nameOfError = async (work) => {
  try {
    await work();
    return null;
  } catch (error) {
    return [error.constructor.name, error.message];
  }
};

const seen = { whole: {}, streamed: {} };
for (const turn of turns) {
  seen.whole[turn] = describe(await client.responses.create(ask(turn)));
  seen.streamed[turn] = {};
  for (const form of ['deltas', 'whole calls', 'mixed chunks']) {
    const stream = client.responses.stream(ask(turn, form));
    let text = '';
    let numbers = [];
    for await (const event of stream) {
      numbers.push(event.sequence_number);
      if (event.type === 'response.output_text.delta') text += event.delta;
    }
    const described = describe(await stream.finalResponse());
    const isInOrder = numbers.every((number, position) => number === position);
    seen.streamed[turn][form] = { ...described, text, ...(isInOrder ? {} : { numbers }) };
  }
}

const GateReading = z.object({ gate: z.string(), metres: z.number() });
const parsed = await client.responses.parse({
  model,
  input: 'play structured in deltas',
  text: { format: zodTextFormat(GateReading, 'gate_reading') },
  store: false,
});
seen.structured = parsed.output_parsed;
seen.refusal = await nameOfError(() => client.responses.create(ask('refusal')));

process.stdout.write(JSON.stringify(seen));
