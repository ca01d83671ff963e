"""What the tests share: captured and generated calls, ways to put them into Callreel, eyes and ears for the film."""
