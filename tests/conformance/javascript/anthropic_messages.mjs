// Messages by Anthropic's JavaScript SDK: plays every turn and prints what the client saw.
//
// usage: node anthropic_messages.mjs BASE_URL MODEL TURN…
import Anthropic from '@anthropic-ai/sdk';

const [baseURL, model, ...turns] = process.argv.slice(2);
const client = new Anthropic({ baseURL, apiKey: 'none', maxRetries: 0 });

const tools = [
  {
    name: 'open_gate',
    description: 'a tool',
    input_schema: { type: 'object', properties: { gate: { type: 'string' } } },
  },
  { name: 'read_level', description: 'a tool', input_schema: { type: 'object', properties: {} } },
];
const ask = (turn, form = 'deltas') => ({
  model,
  max_tokens: 100,
  messages: [{ role: 'user', content: `play ${turn} in ${form}` }],
  tools,
});

const describe = ({ content, stop_reason, usage }) => ({
  text: content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join(''),
  reasoning: content
    .flatMap((block) => (block.type === 'thinking' ? [block.thinking] : []))
    .join(''),
  calls: content.flatMap((block) =>
    block.type === 'tool_use' ? [[block.id, block.name, block.input]] : [],
  ),
  stop_reason,
  total_tokens: usage.input_tokens + usage.output_tokens,
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
  seen.whole[turn] = describe(await client.messages.create(ask(turn)));
  seen.streamed[turn] = {};
  for (const form of ['deltas', 'whole calls', 'mixed chunks']) {
    const stream = client.messages.stream(ask(turn, form));
    let text = '';
    stream.on('text', (delta) => (text += delta));
    seen.streamed[turn][form] = { ...describe(await stream.finalMessage()), text };
  }
}

seen.failure = await nameOfError(() => client.messages.stream(ask('failure')).done());
seen.refusal = await nameOfError(() => client.messages.create(ask('refusal')));
seen.models = (await client.models.list()).data.map(({ id }) => id);
seen.input_tokens = (
  await client.messages.countTokens({ model, messages: ask('plain').messages })
).input_tokens;

process.stdout.write(JSON.stringify(seen));
