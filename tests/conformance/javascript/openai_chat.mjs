// Chat completions by OpenAI's JavaScript SDK: plays every turn and prints what the client saw.
//
// usage: node openai_chat.mjs BASE_URL MODEL TURN…
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const [baseURL, model, ...turns] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });

const ask = (turn, form = 'deltas') => [{ role: 'user', content: `play ${turn} in ${form}` }];

const functions = {
  open_gate: {
    type: 'object',
    properties: { gate: { type: 'string' } },
    required: ['gate'],
  },
  read_level: { type: 'object', properties: {} },
};
const tools = Object.entries(functions).map(([name, parameters]) => ({
  type: 'function',
  function: { name, parameters },
}));

const describe = (completion) => {
  const { message, finish_reason } = completion.choices[0];
  return {
    text: message.content ?? '',
    reasoning: message.reasoning_content || message.reasoning || '',
    calls: (message.tool_calls ?? []).map((call) => [
      call.id,
      call.function.name,
      JSON.parse(call.function.arguments),
    ]),
    finish_reason,
    total_tokens: completion.usage?.total_tokens ?? null,
  };
};

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
  seen.whole[turn] = describe(
    await client.chat.completions.create({ model, messages: ask(turn), tools }),
  );
  seen.streamed[turn] = {};
  for (const form of ['deltas', 'whole calls', 'mixed chunks']) {
    const stream = client.chat.completions.stream({
      model,
      messages: ask(turn, form),
      tools,
      stream_options: { include_usage: true },
    });
    let text = '';
    let reasoning = '';
    stream.on('content', (delta) => (text += delta));
    // Of fields that it does not know, the helper keeps the last piece only.
    stream.on('chunk', ({ choices: [choice] }) => {
      reasoning += choice?.delta.reasoning_content || choice?.delta.reasoning || '';
    });
    const error = await nameOfError(() => stream.done());
    seen.streamed[turn][form] =
      error === null ? { ...describe(await stream.finalChatCompletion()), text, reasoning } : error;
  }
}

const called = [];
const runner = client.chat.completions.runTools({
  model,
  messages: ask('one-call'),
  stream: true,
  tools: [
    {
      type: 'function',
      function: {
        name: 'open_gate',
        parameters: functions.open_gate,
        parse: JSON.parse,
        function: (parameters) => {
          called.push(parameters);
          return 'done';
        },
      },
    },
  ],
});
seen.tool_runner = { called, answer: await runner.finalContent() };

const GateReading = z.object({ gate: z.string(), metres: z.number() });
const parsed = await client.chat.completions.parse({
  model,
  messages: ask('structured'),
  response_format: zodResponseFormat(GateReading, 'gate_reading'),
});
seen.structured = parsed.choices[0].message.parsed;

seen.failure = await nameOfError(async () => {
  const stream = await client.chat.completions.create({
    model,
    messages: ask('failure'),
    stream: true,
  });
  for await (const _ of stream);
});
seen.refusal = await nameOfError(() =>
  client.chat.completions.create({ model, messages: ask('refusal') }),
);

seen.models = (await client.models.list()).data.map(({ id }) => id);
seen.model = (await client.models.retrieve(model)).id;
const embeddings = await client.embeddings.create({ model, input: ['a', 'b'] });
seen.embeddings = embeddings.data.map(({ embedding }) => embedding);

process.stdout.write(JSON.stringify(seen));
