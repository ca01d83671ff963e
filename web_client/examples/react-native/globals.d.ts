// What React Native has of what this example uses. A real application has these from `react-native` itself.

interface FormData {
  append(name: string, value: string | { uri: string; type: string; name: string }): void;
}
declare var FormData: { new (): FormData };

interface FetchAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  json(): Promise<unknown>;
}
declare function fetch(url: string, init?: { method?: string; headers?: Record<string, string>; body?: string | FormData }): Promise<FetchAnswer>;

interface WebSocket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(data: string): void;
  close(): void;
}
declare var WebSocket: { new (url: string): WebSocket };

declare function setTimeout(work: () => void, ms?: number): number;
